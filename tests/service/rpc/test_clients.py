"""Clients of other servers work unchanged, and get the answers of REST, bit by bit."""

import json
import subprocess
import sys
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

from service.open_inference.models import EXTENSIONS
from tests.asynchronous import Asynchronous
from tests.digits import encoded
from tests.service.api.v2.infer_requests import DIGITS, MODEL
from tests.service.rpc.infer_messages import message
from tests.serving import ROOT, SHIPPED, Running
from tests.waiting import HANG

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("grpc")]

ROWS = 3
TIGHT = {"tolerance": 1e-4}
TIGHTEST = {"tolerance": 1e-6, "method": "heun2"}


class Streaming:
    """`infer` by a stream, with the interface of the synchronous client."""

    def __init__(self, client: triton.InferenceServerClient) -> None:
        self._client = client

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        answers = SimpleQueue[tuple[Any, Any]]()
        self._client.start_stream(lambda result, error: answers.put((result, error)))
        self._client.async_stream_infer(*args, **kwargs)
        self._client.stop_stream()
        result, error = answers.get(timeout=HANG)
        if error is not None:
            raise error
        return result


@pytest.fixture(params=["synchronous", "asynchronous", "stream"])
def any_client(request: pytest.FixtureRequest, address: str, server: triton.InferenceServerClient) -> Any:
    """Each of Triton's clients."""
    match request.param:
        case "synchronous":
            return server
        case "asynchronous":
            return Asynchronous(triton_aio.InferenceServerClient, address)
    return Streaming(server)


def tensor(images: npt.NDArray[np.uint8], datatype: str = "UINT8") -> list[triton.InferInput]:
    forms: dict[str, npt.NDArray[Any]] = {
        "UINT8": images,
        "FP32": (images / 255).astype(np.float32),
        "BYTES": np.array([encoded(image) for image in images], object),
    }
    values = forms[datatype]
    return [triton.InferInput("image", [*values.shape], datatype).set_data_from_numpy(values)]


def by_rest(service: Running, images: npt.NDArray[np.uint8], **query: Any) -> list[dict[str, Any]]:
    with service.client() as client:
        answer = client.post(
            "/predict",
            content=images.tobytes(),
            headers={"content-type": "application/octet-stream"},
            params={"count": len(images), **query},
        )
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def agree(answer: Any, predictions: list[dict[str, Any]]) -> None:
    """Check that all outputs equal those of `POST /predict`."""
    solves = [prediction | prediction["solver"] for prediction in predictions]
    for output in answer.get_response().outputs:
        column = answer.as_numpy(output.name)
        expected = [each[output.name].encode() if column.dtype == object else each[output.name] for each in solves]
        np.testing.assert_array_equal(column, np.array(expected, column.dtype))


@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BYTES"])
def test_the_answer_equals_that_of_rest(service: Running, any_client: Any, datatype: str) -> None:
    answer = any_client.infer(
        MODEL, tensor(DIGITS[:ROWS], datatype), model_version=SHIPPED.name, request_id="seven", parameters=TIGHT
    )
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("seven", MODEL, SHIPPED.name)
    assert len(response.outputs) == 13
    agree(answer, by_rest(service, DIGITS[:ROWS], **TIGHT))


def test_a_thousand_digits_have_the_bits_of_rest(service: Running, server: triton.InferenceServerClient) -> None:
    for start in range(0, 1_000, 50):
        images = DIGITS[start : start + 50]
        agree(server.infer(MODEL, tensor(images)), by_rest(service, images))


def test_a_classification_returns_the_most_probable_classes(any_client: Any) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", class_count=3), triton.InferRequestedOutput("digit")]
    answer = any_client.infer(MODEL, tensor(DIGITS[:ROWS]), outputs=outputs)
    assert [output.name for output in answer.get_response().outputs] == ["probabilities", "digit"]
    first = [text.split(b":")[1:] for text in answer.as_numpy("probabilities")[:, 0]]
    assert first == [[b"%d" % digit] * 2 for digit in answer.as_numpy("digit")]
    assert answer.as_numpy("probabilities").shape == (ROWS, 3)


def test_a_refusal_has_the_words_of_rest(service: Running, any_client: Any) -> None:
    with service.client() as client:
        body = {"inputs": [{"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}]}
        answer = client.post(f"/v2/models/{MODEL}/infer", json={**body, "parameters": {"tolerance": -1.0, "steps": 0}})
    with pytest.raises(InferenceServerException) as caught:
        any_client.infer(MODEL, tensor(DIGITS[:1]), parameters={"tolerance": -1.0, "steps": 0})
    assert caught.value.message() == answer.json()["error"]
    assert "parameters.tolerance" in answer.json()["error"]


def test_a_stream_gives_each_answer_when_it_is_done_and_goes_on_after_a_refusal(
    server: triton.InferenceServerClient,
) -> None:
    answers = SimpleQueue[tuple[Any, Any]]()
    server.start_stream(lambda result, error: answers.put((result, error)))
    server.async_stream_infer(MODEL, tensor(DIGITS[:5]), request_id="long", parameters=TIGHTEST)
    server.async_stream_infer("nothing", tensor(DIGITS[:1]), request_id="refused")
    server.async_stream_infer("mlp", tensor(DIGITS[:1]), request_id="short")
    (_, refusal), (short, _), (long, _) = [answers.get(timeout=HANG) for _ in range(3)]
    server.stop_stream()
    assert "no such model" in refusal.message()
    assert (short.get_response().id, long.get_response().id) == ("short", "long")


@pytest.mark.parametrize("client", ["synchronous", "asynchronous"])
def test_the_reports_about_the_service_equal_those_of_rest(service: Running, address: str, client: str) -> None:
    triton_client = (
        Asynchronous(triton_aio.InferenceServerClient, address)
        if client == "asynchronous"
        else triton.InferenceServerClient(address)
    )
    with service.client() as rest:

        def get(path: str) -> Any:
            return rest.get(f"/v2{path}").json()

        assert triton_client.is_server_live()
        assert triton_client.is_server_ready()
        assert triton_client.is_model_ready("mlp")
        assert triton_client.is_model_ready("mlp", "1")
        server = triton_client.get_server_metadata(as_json=True)
        assert server == {"name": "odenet", "version": server["version"], "extensions": EXTENSIONS}
        metadata = triton_client.get_model_metadata(MODEL, as_json=True)
        assert as_text(metadata) == as_text(get(f"/models/{MODEL}"))
        config = triton_client.get_model_config(MODEL, as_json=True)["config"]
        rest_config = get(f"/models/{MODEL}/config")
        assert as_text({name: config[name] for name in rest_config}) == as_text(rest_config)
        statistics = triton_client.get_inference_statistics("mlp").model_stats[0]
        assert statistics.inference_count == get("/models/mlp/stats")["model_stats"][0]["inference_count"]
        assert len(triton_client.get_inference_statistics().model_stats) == len(get("/models/stats")["model_stats"])
        index = triton_client.get_model_repository_index(as_json=True)["models"]
        listed = rest.post("/v2/repository/index").json()
        assert index == [{name: value for name, value in each.items() if value} for each in listed]


def as_text(document: Any) -> Any:
    """A document whose numbers are texts, without empty lists. JSON for protobuf writes 64-bit integers so."""
    if isinstance(document, dict):
        return {name: as_text(value) for name, value in document.items() if value != []}
    return [as_text(value) for value in document] if isinstance(document, list) else str(document)


def test_models_are_loaded_and_unloaded(server: triton.InferenceServerClient) -> None:
    server.unload_model("mlp")
    try:
        assert not server.is_model_ready("mlp")
    finally:
        server.load_model("mlp")
    assert server.is_model_ready("mlp")
    with pytest.raises(InferenceServerException, match="has no parameters") as caught:
        server.load_model("mlp", config="{}")
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_reflection_describes_the_service_to_a_client_without_its_messages(channel: Any) -> None:
    """As grpcurl does: list the services, fetch their descriptors, and make messages from the descriptors."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
    file = database.FindFileContainingSymbol("inference.GRPCInferenceService")
    assert "ModelInfer" in [method.name for service in file.service for method in service.method]
    assert "model_config.proto" in file.dependency


STANDARD_CLIENT = f"""
import json, sys
import grpc
from open_inference.grpc.protocol import ModelInferRequest
from open_inference.grpc.service import GRPCInferenceServiceStub
with grpc.insecure_channel(sys.argv[1]) as channel:
    request = ModelInferRequest.FromString(sys.stdin.buffer.read())
    answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout={HANG})
print(json.dumps([[each.name, list(each.contents.int64_contents)] for each in answer.outputs]))
"""


def test_a_client_with_the_messages_of_the_standard_gets_typed_answers_to_typed_requests(
    service: Running, address: str
) -> None:
    """Its messages have no extensions, and clash with Triton's, so it runs in a process of its own."""
    request = message(DIGITS[:ROWS], typed=True, parameters=TIGHT)
    done = subprocess.run(
        [sys.executable, "-c", STANDARD_CLIENT, address],
        input=request.SerializeToString(),
        capture_output=True,
        check=True,
        cwd=ROOT,
        timeout=HANG,
    )
    answer = dict(json.loads(done.stdout))
    expected = by_rest(service, DIGITS[:ROWS], deadline_ms=1000 * HANG, **TIGHT)
    assert answer["digit"] == [each["digit"] for each in expected]
    assert answer["nfe"] == [each["solver"]["nfe"] for each in expected]
