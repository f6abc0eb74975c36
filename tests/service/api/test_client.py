"""A client that is generated from the OpenAPI document has a function for each route, and each function works."""

import base64
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from tests.digits import encoded, seven
from tests.serving import SHIPPED
from tests.waiting import HANG

GENERATED = "generated_client"
SEVEN = base64.b64encode(encoded(seven())).decode()
MODEL, VERSION = "odenet-mnist", SHIPPED.name


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/openapi.json").json()
    return answer


@pytest.fixture(scope="module")
def package(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a client that is generated from the document, and that can be imported."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(document))
    config = Config.from_sources(
        ConfigFile(post_hooks=[]),
        MetaType.NONE,
        document_source=folder / "openapi.json",
        file_encoding="utf-8",
        overwrite=False,
        output_path=folder / GENERATED,
    )
    problems = {problem.detail for problem in generate(config=config)}
    assert problems == {f"Unsupported content type {each}" for each in ("image/png", "image/jpeg")}, "of the generator"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder / GENERATED


@pytest.fixture(scope="module")
def models(package: Path) -> ModuleType:
    return importlib.import_module(f"{GENERATED}.models")


@pytest.fixture(scope="module")
def called(package: Path, client: httpx.Client) -> Iterator[Any]:
    """The client of the generated package."""
    base_url = str(client.base_url).rstrip("/")
    with importlib.import_module(f"{GENERATED}.client").Client(base_url=base_url, timeout=HANG) as generated:
        yield generated


def call(called: Any, operation: str, **arguments: Any) -> Any:
    """The answer of the generated function of an operation: its status, its headers and what it is parsed to."""
    (path,) = Path(importlib.import_module(f"{GENERATED}.api").__file__ or "").parent.glob(f"*/{operation}.py")
    module = importlib.import_module(f"{GENERATED}.api.{path.parent.name}.{operation}")
    return module.sync_detailed(client=called, **arguments)


def test_every_operation_has_a_function(document: dict[str, Any], package: Path) -> None:
    operations = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert {path.stem for path in (package / "api").glob("*/*.py")} - {"__init__"} == operations


READS = {
    "live": {},
    "ready": {},
    "get_metrics": {},
    "list_models": {},
    "get_model": {"name": MODEL},
    "get_server": {},
    "server_live": {},
    "server_ready": {},
    "get_all_statistics": {},
    "get_metadata": {"name": MODEL},
    "get_metadata_by_version": {"name": MODEL, "version": VERSION},
    "get_model_ready": {"name": MODEL},
    "get_model_ready_by_version": {"name": MODEL, "version": VERSION},
    "get_config": {"name": MODEL},
    "get_config_by_version": {"name": MODEL, "version": VERSION},
    "get_statistics": {"name": MODEL},
    "get_statistics_by_version": {"name": MODEL, "version": VERSION},
}
WRITES = {
    "predict",
    "infer",
    "infer_by_version",
    "get_index",
    "load",
    "unload",
}


def test_these_tests_call_every_operation(document: dict[str, Any]) -> None:
    operations = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert operations == READS.keys() | WRITES


@pytest.mark.parametrize("operation", READS)
def test_the_generated_functions_read(called: Any, operation: str) -> None:
    answer = call(called, operation, **READS[operation])
    assert answer.status_code == 200
    assert answer.parsed is not None or operation == "get_metrics"


def test_readiness_is_parsed_to_the_schema_of_each_protocol(called: Any) -> None:
    assert MODEL in call(called, "ready").parsed.models
    assert call(called, "server_ready").parsed.ready is True


@pytest.mark.parametrize("image", [SEVEN, seven().tolist()], ids=["base64", "rows"])
def test_the_generated_function_predicts(called: Any, models: ModuleType, image: Any) -> None:
    answer = call(called, "predict", body=models.PredictBody(images=[image]))
    assert answer.status_code == 200, answer.content
    assert [each.digit for each in answer.parsed.predictions] == [7]


def test_solver_fields_may_be_in_the_body_or_in_the_query(called: Any, models: ModuleType) -> None:
    fields = {"tolerance": 1e-3, "trace": True}
    in_body = call(called, "predict", body=models.PredictBody(images=[SEVEN], **fields))
    in_query = call(called, "predict", body=models.PredictBody(images=[SEVEN]), **fields)
    for answer in (in_body, in_query):
        (prediction,) = answer.parsed.predictions
        assert prediction.solver.rtol == 1e-3
        assert prediction.trace.attempts


def test_a_refusal_is_parsed_to_problem_details(called: Any, models: ModuleType) -> None:
    answer = call(called, "predict", body=models.PredictBody(images=[SEVEN], tolerance=11.0))
    assert answer.status_code == 422
    assert json.loads(answer.content)["errors"][0]["field"] == "tolerance"


@pytest.mark.parametrize("arguments", [{}, {"version": VERSION}])
def test_the_generated_functions_infer(called: Any, models: ModuleType, arguments: dict[str, str]) -> None:
    tensor = models.InputTensor(name="image", shape=[1], datatype="BYTES", data=[SEVEN])
    parameters = models.InferParameters(tolerance=1e-3)
    outputs = [models.RequestedOutput(name="digit"), models.RequestedOutput(name="rtol")]
    body = models.InferRequest(id="seven", inputs=[tensor], parameters=parameters, outputs=outputs)
    operation = "infer_by_version" if arguments else "infer"
    answer = call(called, operation, name=MODEL, body=body, **arguments)
    assert answer.status_code == 200, answer.content
    assert answer.parsed.id == "seven"
    assert [output.data for output in answer.parsed.outputs] == [[7], [1e-3]]


def test_an_error_of_the_protocol_has_the_id_of_the_request(called: Any, models: ModuleType) -> None:
    tensor = models.InputTensor(name="image", shape=[2], datatype="BYTES", data=[SEVEN])
    answer = call(called, "infer", name=MODEL, body=models.InferRequest(id="two", inputs=[tensor]))
    assert (answer.status_code, answer.parsed.id) == (422, "two")
    assert "must be 2 texts" in answer.parsed.error


def test_the_generated_functions_list_and_control_models(called: Any, models: ModuleType) -> None:
    index = call(called, "get_index", body=models.IndexRequest())
    assert MODEL in {entry.name for entry in index.parsed}
    for verb, body in (("load", models.LoadRequest()), ("unload", models.UnloadRequest())):
        answer = call(called, verb, name="mlp", body=body)
        assert answer.status_code == 403, "the service does not allow this"
        assert answer.parsed.error


def test_every_schema_has_a_short_name_of_its_own(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert not [name for name in schemas if "__" in name]
    titles = [schema["title"] for schema in schemas.values()]
    assert len(titles) == len(set(titles))
