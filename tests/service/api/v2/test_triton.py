"""Triton's own clients, synchronous and asynchronous, work over a real socket."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.asynchronous import Asynchronous
from tests.digits import encoded
from tests.service.api.v2.infer_requests import DIGITS, MODEL
from tests.serving import SHIPPED, Running

# If an answer arrives before the body has been sent, the asynchronous client does not close its connection.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function Connection.__del__:pytest.PytestUnraisableExceptionWarning"
)

ROWS = 3
IMAGES = DIGITS[:ROWS]
TIGHT = {"tolerance": 1e-4}


@pytest.fixture(scope="module", params=["synchronous", "asynchronous"])
def server(service: Running, client: httpx.Client, request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of Triton's clients. We first wait until the service listens."""
    address = service.url.removeprefix("http://")
    assert client.get("/v2/health/live").status_code == 200
    if request.param == "asynchronous":
        yield Asynchronous(triton_aio.InferenceServerClient, address)
        return
    with triton.InferenceServerClient(address) as synchronous:
        yield synchronous


def given(datatype: str = "UINT8", *, binary: bool = True, rows: int = ROWS) -> list[triton.InferInput]:
    """An input with the first digits."""
    images = DIGITS[:rows]
    pictures = [encoded(image) for image in images]
    forms: dict[str, npt.NDArray[Any]] = {
        "UINT8": images,
        "FP32": (images / 255).astype(np.float32),
        "BYTES": np.array(pictures if binary else [base64.b64encode(each) for each in pictures], object),
    }
    values = forms[datatype]
    return [triton.InferInput("image", [*values.shape], datatype).set_data_from_numpy(values, binary_data=binary)]


def predicted(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    headers = {"content-type": "application/octet-stream"}
    answer = client.post("/predict", content=IMAGES.tobytes(), headers=headers, params=query)
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def agree(answer: Any, predictions: list[dict[str, Any]]) -> None:
    """Check that all outputs equal those of /predict."""
    columns = ("probabilities", "digit", "margin")
    for name in columns:
        np.testing.assert_array_equal(
            answer.as_numpy(name), np.array([each[name] for each in predictions], answer.as_numpy(name).dtype)
        )
    for name in ("nfe", "error_estimate", "rtol", "atol", "steps", "rejected", "escalated", "degraded"):
        column = answer.as_numpy(name)
        np.testing.assert_array_equal(column, np.array([each["solver"][name] for each in predictions], column.dtype))
    for name in ("method", "outcome"):
        texts = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy(name)]
        assert texts == [each["solver"][name] for each in predictions]


@pytest.mark.parametrize("binary_output", [False, True], ids=["json answer", "binary answer"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BYTES"])
def test_the_answer_equals_that_of_predict(
    server: Any, client: httpx.Client, datatype: str, binary: bool, binary_output: bool
) -> None:
    names = [output["name"] for output in server.get_model_metadata(MODEL)["outputs"]]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in names]
    answer = server.infer(MODEL, given(datatype, binary=binary), outputs=outputs, parameters=TIGHT)
    agree(answer, predicted(client, **TIGHT))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_may_be_compressed(server: Any, client: httpx.Client, algorithm: str) -> None:
    """The answer is not compressed. A client that requests a compressed answer must accept this."""
    compression = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    for binary in (False, True):
        answer = server.infer(MODEL, given(binary=binary), parameters=TIGHT, **compression)
        agree(answer, predicted(client, **TIGHT))


def test_all_arguments_of_the_client_are_accepted(server: Any) -> None:
    answer = server.infer(
        MODEL, given(), model_version=SHIPPED.name, request_id="seven", priority=1, timeout=60_000_000, parameters=TIGHT
    )
    response = answer.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("seven", MODEL, SHIPPED.name)


def test_a_tighter_tolerance_costs_more_evaluations_and_has_a_smaller_error(server: Any) -> None:
    answers = [server.infer(MODEL, given(), parameters={"tolerance": each}) for each in (1e-1, 1e-3, 1e-5)]
    spent = [int(answer.as_numpy("nfe").sum()) for answer in answers]
    errors = [float(answer.as_numpy("error_estimate").sum()) for answer in answers]
    assert spent == sorted(set(spent))
    assert errors == sorted(set(errors), reverse=True)


def test_a_fixed_step_method_has_no_error_estimate(server: Any) -> None:
    for binary in (False, True):
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("error_estimate", "rtol", "nfe")]
        answer = server.infer(MODEL, given(), outputs=outputs, parameters={"method": "rk4", "steps": 2})
        assert np.isnan(answer.as_numpy("error_estimate")).all()
        assert np.isnan(answer.as_numpy("rtol")).all()
        assert answer.as_numpy("nfe").tolist() == [8] * ROWS


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_classification_returns_the_most_probable_classes(server: Any, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]
    answer = server.infer(MODEL, given(), outputs=outputs).as_numpy("probabilities")
    assert answer.shape == (ROWS, 3)
    texts = [text.decode() if isinstance(text, bytes) else text for text in answer[:, 0]]
    assert [text.split(":")[2] for text in texts] == ["7", "2", "1"]


def test_several_requests_may_run_at_once(service: Running) -> None:
    with triton.InferenceServerClient(service.url.removeprefix("http://"), concurrency=4) as client:
        waiting = [client.async_infer(MODEL, given(rows=rows)) for rows in (1, 2, 3, 1, 2, 3)]
        assert [len(each.get_result().as_numpy("digit")) for each in waiting] == [1, 2, 3, 1, 2, 3]


def test_the_health_calls_work(server: Any) -> None:
    assert server.is_server_live() is True
    assert server.is_server_ready() is True
    assert server.is_model_ready(MODEL) is True
    assert server.is_model_ready(MODEL, SHIPPED.name) is True
    assert server.is_model_ready(MODEL, "1") is False
    assert server.is_model_ready("lenet") is False


def test_the_metadata_calls_work(server: Any) -> None:
    assert server.get_server_metadata()["name"] == "odenet"
    metadata = server.get_model_metadata(MODEL)
    assert (metadata["name"], metadata["versions"]) == (MODEL, [SHIPPED.name])
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    config = server.get_model_config(MODEL, SHIPPED.name)
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (50, [28, 28])
    index = {(entry["name"], entry["state"]) for entry in server.get_model_repository_index()}
    assert {(MODEL, "READY"), ("mlp", "READY")} <= index


def test_the_statistics_calls_work(server: Any) -> None:
    def counted() -> dict[str, Any]:
        (entry,) = server.get_inference_statistics("mlp")["model_stats"]
        assert isinstance(entry, dict)
        return entry

    server.infer("mlp", given())
    assert counted()["inference_count"] >= ROWS
    everything = server.get_inference_statistics()["model_stats"]
    assert {"mlp", MODEL} <= {each["name"] for each in everything}


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ({"model_name": "lenet"}, "404", "model: no such model is served"),
        ({"model_version": "9"}, "404", "version: no such version is served"),
        ({"parameters": {"tolerance": 1e-9}}, "422", "parameters.tolerance: Input should be greater than or equal to"),
        ({"parameters": {"tolerence": 1}}, "422", "parameters.tolerence: Extra inputs are not permitted"),
        ({"outputs": [triton.InferRequestedOutput("logits")]}, "422", "outputs.0.name: must be one of probabilities"),
        ({"sequence_id": 5}, "422", "parameters.sequence_id: Extra inputs are not permitted"),
    ],
)
def test_a_refused_request_raises_an_exception_with_the_reason(
    server: Any, arguments: dict[str, Any], status: str, text: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        server.infer(**{"model_name": MODEL, "inputs": given(), **arguments})
    assert caught.value.status() == status
    assert text in caught.value.message()


def test_a_forbidden_or_unknown_operation_raises_an_exception_with_the_reason(server: Any) -> None:
    for call in (server.load_model, server.unload_model):
        with pytest.raises(InferenceServerException, match="model: may not be loaded or unloaded"):
            call("mlp")
    for call in (server.get_model_metadata, server.get_model_config, server.get_inference_statistics):
        with pytest.raises(InferenceServerException, match="model: no such model is served"):
            call("lenet")
