"""Helpers that write requests for inference by hand, and read the answers."""

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import numpy.typing as npt

from service.errors import RequestError
from tests.digits import encoded, load_test_set

DIGITS = load_test_set()[0]
MODEL = "odenet-mnist"
INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"

Pixels = npt.NDArray[np.uint8]
Result = TypeVar("Result")


def in_two_members(content: bytes) -> bytes:
    """A gzip file of two members, which RFC 1952 allows."""
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "not compressed": ("", bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip in two members": ("gzip", in_two_members),
    "deflate": ("deflate", zlib.compress),
}
"""Codings of a body: the header Content-Encoding, and the function that compresses the body."""


def joined(elements: list[bytes]) -> bytes:
    """A tensor of BYTES in binary form. The length of each element precedes the element."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def tensor(images: Pixels, datatype: str = "UINT8", *, binary: bool = False) -> tuple[dict[str, Any], bytes]:
    """The JSON of an input with images, and the bytes that follow the JSON."""
    head: dict[str, Any] = {"name": "image", "datatype": datatype}
    data: list[Any]
    if datatype == "BYTES":
        elements, head["shape"] = [encoded(image) for image in images], [len(images)]
        data, content = [base64.b64encode(element).decode() for element in elements], joined(elements)
    else:
        values, head["shape"] = images if datatype == "UINT8" else (images / 255).astype("<f4"), [*images.shape]
        data, content = values.ravel().tolist(), values.tobytes()
    if binary:
        return head | {"parameters": {"binary_data_size": len(content)}}, content
    return head | {"data": data}, b""


def outcome(call: Callable[[], Result]) -> Result | RequestError:
    """The result of a call, or the request error that it raises."""
    try:
        return call()
    except RequestError as error:
        return error


def post(
    client: httpx.Client, head: Any, binary: bytes | None = None, encoding: str = "", **more: Any
) -> httpx.Response:
    """Post a head in JSON and the bytes that follow the JSON, compressed by an encoding, and return the answer."""
    content = head if isinstance(head, bytes) else json.dumps(head).encode()
    headers = {} if binary is None else {LENGTH: str(len(content))}
    coding, coded = ENCODINGS[encoding or "not compressed"]
    headers |= {"Content-Encoding": coding} if coding else {}
    body = coded(content + (binary or b""))
    return client.post(more.pop("path", INFER), content=body, headers=headers | more.pop("headers", {}), **more)


def infer(
    client: httpx.Client,
    images: Pixels,
    datatype: str = "UINT8",
    *,
    binary: bool = False,
    encoding: str = "",
    path: str = INFER,
    **fields: Any,
) -> httpx.Response:
    """Post images with further fields of the JSON, and return the answer."""
    head, content = tensor(images, datatype, binary=binary)
    return post(client, {"inputs": [head], **fields}, content if binary else None, encoding, path=path)


def outputs(answer: httpx.Response) -> dict[str, Any]:
    """The data of each output in a JSON answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def error(answer: httpx.Response) -> str:
    """The error of an answer. We check that the answer has the form of the protocol and reveals no internals.

    The answer also has the id of the request, if the request has one.
    """
    content = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert {"error"} <= set(content) <= {"error", "id"}
    assert "Traceback" not in answer.text
    assert '.py"' not in answer.text
    assert len(answer.content) < 4_000
    assert isinstance(content["error"], str)
    return content["error"]
