"""`POST /predict` over a real socket, with real digits."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest

from models.solvers.methods import METHODS
from tests.digits import encoded, load_test_set, seven
from tests.serving import SHIPPED

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]
SEVEN_BASE64 = base64.b64encode(encoded(seven())).decode()

BODIES: dict[str, dict[str, Any]] = {
    "rows of grey levels": {"json": {"images": [seven().tolist()]}},
    "grey levels as floats": {"json": {"images": [seven().astype(float).tolist()]}},
    "base64": {"json": {"images": [SEVEN_BASE64]}},
    "data URL": {"json": {"images": [f"data:image/png;base64,{SEVEN_BASE64}"]}},
    "PNG": {"content": encoded(seven()), "headers": {"content-type": "image/png"}},
    "media type with a parameter": {"content": encoded(seven()), "headers": {"content-type": "IMAGE/PNG; q=1"}},
    "black on white": {"content": encoded(255 - seven()), "headers": {"content-type": "image/png"}},
    "bytes": {"content": seven().tobytes(), "headers": {"content-type": "application/octet-stream"}},
    "form": {"files": {"picture": ("seven.png", encoded(seven()), "image/png")}},
    "PNG with the media type of bytes": {
        "content": encoded(seven()),
        "headers": {"content-type": "application/octet-stream"},
    },
    "base64 in lines": {"json": {"images": [f"{SEVEN_BASE64[:76]}\n{SEVEN_BASE64[76:]}\n"]}},
    "form with a file without a media type": {
        "content": b"--b\r\nContent-Disposition: form-data; name=f; filename=seven\r\n\r\n"
        + encoded(seven())
        + b"\r\n--b--\r\n",
        "headers": {"content-type": "multipart/form-data; boundary=b"},
    },
    "form with bytes": {"files": {"pixels": ("seven", seven().tobytes(), "application/octet-stream")}},
}


def only(answer: httpx.Response) -> dict[str, Any]:
    """The only prediction of an answer."""
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert isinstance(prediction, dict)
    return prediction


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_every_kind_of_body_with_the_same_digit_gets_the_same_answer(
    client: httpx.Client, body: dict[str, Any]
) -> None:
    prediction = only(client.post("/predict", **body))
    assert prediction["digit"] == 7
    assert prediction == only(client.post("/predict", **BODIES["bytes"]))


def test_a_jpeg_is_decoded(client: httpx.Client) -> None:
    headers = {"content-type": "image/jpeg"}
    assert only(client.post("/predict", content=encoded(seven(), "JPEG", quality=95), headers=headers))["digit"] == 7


def test_a_picture_of_another_size_is_converted_to_mnists_form(client: httpx.Client) -> None:
    page = np.full((400, 300), 230, np.uint8)
    page[50:330, 10:290] -= np.kron(seven(), np.ones((10, 10), np.uint8)) // 2
    headers = {"content-type": "image/png"}
    assert only(client.post("/predict", content=encoded(page), headers=headers))["digit"] == 7


def test_a_blank_picture_is_refused_with_its_field(client: httpx.Client) -> None:
    blank = base64.b64encode(encoded(np.full((300, 200), 240, np.uint8))).decode()
    answer = client.post("/predict", json={"images": [SEVEN_BASE64, blank]})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "images.1"
    assert "shows no ink" in error["message"]


def test_the_probabilities_use_the_temperature_of_the_model(client: httpx.Client) -> None:
    """We compare with the portable graph, which returns the logits."""
    manifest = client.get("/models/odenet-mnist").json()["manifest"]
    solver = manifest["default_solver"]
    session = ort.InferenceSession(SHIPPED / "solve.onnx", providers=["CPUExecutionProvider"])
    tolerances = {name: np.array([solver[name]], np.float32) for name in ("rtol", "atol")}
    (logits,) = session.run(["logits"], {"image": seven()[np.newaxis], **tolerances})
    scaled = np.exp((logits[0] - logits[0].max()) / manifest["temperature"])
    prediction = only(client.post("/predict", json={"images": [seven().tolist()], "escalate": False}))
    greatest = np.sort(logits[0])[-2:]
    assert prediction["margin"] == pytest.approx(greatest[1] - greatest[0], abs=1e-3)
    assert prediction["probabilities"] == pytest.approx((scaled / scaled.sum()).tolist(), abs=1e-5)


def test_the_answer_has_the_model_the_solve_and_the_timing(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": [SEVEN_BASE64], "method": "dopri5", "rtol": 1e-3, "atol": 1e-4})
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(body) == {"model", "version", "predictions", "timing_ms"}
    assert body["model"] == "odenet-mnist"
    prediction = only(answer)
    assert set(prediction) == {"digit", "probabilities", "margin", "solver"}
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert int(np.argmax(prediction["probabilities"])) == prediction["digit"]
    solver = prediction["solver"]
    assert (solver["method"], solver["rtol"], solver["atol"], solver["outcome"]) == ("dopri5", 1e-3, 1e-4, "converged")
    assert solver["nfe"] == 1 + 6 * solver["steps"]
    assert 0 <= solver["rejected"] < solver["steps"]
    assert solver["error_estimate"] > 0
    assert (solver["escalated"], solver["degraded"]) == (False, False)
    timing = body["timing_ms"]
    assert list(timing) == ["decode", "queue", "stem", "solve", "head", "total"]
    assert min(timing.values()) >= 0
    assert min(timing["decode"], timing["stem"], timing["solve"], timing["head"]) > 0
    assert timing.pop("total") > sum(timing.values()), "the phases follow one another"
    header = dict(entry.split(";dur=") for entry in answer.headers["server-timing"].split(", "))
    assert {phase: float(header[phase]) for phase in timing} == pytest.approx(timing, abs=1e-3)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_tighter_tolerance_costs_more_evaluations_and_has_a_smaller_error(client: httpx.Client, method: str) -> None:
    solvers = [
        only(client.post("/predict", json={"images": [SEVEN_BASE64], "tolerance": tolerance, "method": method}))[
            "solver"
        ]
        for tolerance in (1e-1, 1e-3, 1e-5)
    ]
    nfe, estimates = ([solver[key] for solver in solvers] for key in ("nfe", "error_estimate"))
    assert nfe == sorted(set(nfe)), "the evaluations rise"
    assert estimates == sorted(estimates, reverse=True)


def test_a_tighter_tolerance_costs_more_evaluations_with_the_default_method_too(client: httpx.Client) -> None:
    nfe = [
        only(client.post("/predict", json={"images": [SEVEN_BASE64], "tolerance": tolerance}))["solver"]["nfe"]
        for tolerance in (1e-1, 1e-3, 1e-5)
    ]
    assert nfe == sorted(set(nfe))


@pytest.mark.parametrize("method", FIXED)
def test_a_fixed_step_method_takes_the_requested_steps(client: httpx.Client, method: str) -> None:
    solver = only(client.post("/predict", json={"images": [SEVEN_BASE64], "method": method, "steps": 5}))["solver"]
    assert (solver["steps"], solver["nfe"], solver["rejected"]) == (5, 5 * METHODS[method].stages, 0)
    assert solver["rtol"] is solver["atol"] is solver["error_estimate"] is None


@pytest.mark.parametrize("method", METHODS)
def test_a_request_may_name_only_a_method(client: httpx.Client, method: str) -> None:
    answer = client.post("/predict", params={"method": method}, **BODIES["bytes"])
    assert only(answer)["solver"]["method"] == method


def test_the_query_may_hold_solver_fields_with_any_body(client: httpx.Client) -> None:
    for body in BODIES.values():
        solver = only(client.post("/predict", params={"method": "tsit5", "tolerance": "1e-4"}, **body))["solver"]
        assert (solver["method"], solver["rtol"], solver["atol"]) == ("tsit5", 1e-4, 1e-4)


def test_rtol_and_atol_may_differ(client: httpx.Client) -> None:
    solver = only(client.post("/predict", json={"images": [SEVEN_BASE64], "rtol": 1e-4, "atol": 1e-2}))["solver"]
    assert (solver["rtol"], solver["atol"]) == (1e-4, 1e-2)


@pytest.mark.parametrize("field", ["rtol", "atol"])
def test_rtol_alone_or_atol_alone_sets_both(client: httpx.Client, field: str) -> None:
    solver = only(client.post("/predict", json={"images": [SEVEN_BASE64], field: 1e-4}))["solver"]
    assert (solver["rtol"], solver["atol"]) == (1e-4, 1e-4)


def test_many_images_are_answered_in_order_and_each_gets_the_answer_that_it_gets_alone(client: httpx.Client) -> None:
    images = load_test_set()[0][:40]
    settings: dict[str, Any] = {"method": "dopri5", "tolerance": 1e-3}
    together = client.post("/predict", json={"images": images.tolist(), **settings}).json()["predictions"]
    for image, prediction in zip(images, together, strict=True):
        alone = only(client.post("/predict", json={"images": [image.tolist()], **settings}))
        assert (alone["digit"], alone["solver"]["nfe"]) == (prediction["digit"], prediction["solver"]["nfe"])
        assert alone["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-5)


def test_files_and_bytes_hold_any_number_of_images(client: httpx.Client) -> None:
    images, _ = load_test_set()
    expected = [p["digit"] for p in client.post("/predict", json={"images": images[:6].tolist()}).json()["predictions"]]
    form = [
        ("files", ("a", images[:2].tobytes(), "application/octet-stream")),
        ("files", ("b.png", encoded(images[2]), "image/png")),
        ("files", ("c", images[3:6].tobytes(), "application/octet-stream")),
    ]
    raw = client.post("/predict", content=images[:6].tobytes(), headers={"content-type": "application/octet-stream"})
    for answer in (raw, client.post("/predict", files=form)):
        assert [prediction["digit"] for prediction in answer.json()["predictions"]] == expected


def test_simultaneous_callers_each_get_their_own_answer(client: httpx.Client) -> None:
    images = load_test_set()[0][:32]
    # A slow service would otherwise loosen the tolerance.
    asked = {"method": "dopri5", "allow_degraded": False}

    def ask(image: Any) -> Any:
        return only(client.post("/predict", json={"images": [image.tolist()], **asked}))

    one_by_one = [ask(image) for image in images]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, images)) == one_by_one
