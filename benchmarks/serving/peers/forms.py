"""The formats in which the peers take images and give answers."""

import json
from functools import partial
from math import nan, prod
from typing import Any

import numpy as np

from benchmarks.serving.forms import JSON, Form, Images, Row, image_list, pixels
from models.form import SIDE

INFER = "/v2/models/odenet-mnist/infer"
DATATYPES = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8", "BOOL": "?", "UINT8": "u1"}
"""The NumPy types of those datatypes of the protocol that occur in answers."""


def tensor(images: Images) -> bytes:
    """JSON of the Open Inference Protocol, version 2."""
    return _request(images.shape, {"data": images.reshape(-1).tolist()})


def binary(**parameters: int) -> Form:
    """The form whose body is JSON that describes one image, and the image in binary form after it.

    Args:
        parameters: parameters of each request, such as Triton's `timeout` in microseconds.
    """
    head = _request((1, SIDE, SIDE), {"parameters": {"binary_data_size": SIDE * SIDE}}, parameters)
    headers = (("Inference-Header-Content-Length", str(len(head))),)
    return Form(INFER, "application/octet-stream", partial(_after, head), tensors, headers)


def _after(head: bytes, images: Images) -> bytes:
    return head + images.tobytes()


def _request(shape: tuple[int, ...], content: dict[str, object], parameters: dict[str, int] | None = None) -> bytes:
    """The JSON of a request whose images are solved once. The peers ignore this parameter."""
    inputs = [{"name": "image", "shape": shape, "datatype": "UINT8", **content}]
    request = {"parameters": {"escalate": False} | (parameters or {}), "inputs": inputs}
    return json.dumps(request, separators=(",", ":")).encode()


def tensors(body: bytes) -> list[Row]:
    """The answers of the Open Inference Protocol: JSON, which tensors in binary form may follow."""
    answer, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    outputs: dict[str, Any] = {}
    for output in answer["outputs"]:
        name, shape = output["name"], output["shape"]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            outputs[name] = np.array(output["data"]).reshape(shape)
        elif output["datatype"] in DATATYPES:
            outputs[name] = np.frombuffer(body, DATATYPES[output["datatype"]], prod(shape), end).reshape(shape)
        end += size or 0
    return _rows(outputs["probabilities"], outputs["nfe"].reshape(-1))


def columns(body: bytes) -> list[Row]:
    """The answers of the peers whose answer format we choose: lists of probabilities and of evaluations."""
    answer = json.loads(body)
    return _rows(answer["probabilities"], answer["nfe"])


def probabilities(body: bytes) -> list[Row]:
    """The answers of BentoML: the probabilities of each image. BentoML allows only one output for a batch."""
    rows = json.loads(body)
    return _rows(rows, [nan] * len(rows))


def _rows(shares: Any, nfe: Any) -> list[Row]:
    return [Row(int(np.argmax(row)), float(each)) for row, each in zip(shares, nfe, strict=True)]


V2_BINARY = binary()
V2_JSON = Form(INFER, "application/json", tensor, tensors)
COLUMNS_RAW = Form("/predict", "application/octet-stream", pixels, columns)
COLUMNS_JSON = Form("/predict", JSON.content_type, image_list, columns)
BENTOML_JSON = Form("/predict", JSON.content_type, image_list, probabilities)
