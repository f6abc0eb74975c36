"""The formats in which servers take images and give answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.serving.connections import (
    Connection,
    HttpConnection,
    MultiplexedRpcConnection,
    RpcConnection,
    rpc_frames,
)

Images = npt.NDArray[np.uint8]


class Row(NamedTuple):
    """The answer to one image. A value that the answer does not have is NaN.

    Attributes:
        digit: the digit.
        nfe: function evaluations.
        rtol: the relative tolerance.
        degraded: 1 for an answer at a looser tolerance than requested, otherwise 0.
    """

    digit: int
    nfe: float = nan
    rtol: float = nan
    degraded: float = nan


@dataclass(frozen=True)
class Form:
    """The format of a request and of its answer. Forms are sent to another process, so no function is a lambda.

    Attributes:
        path: the path of the URL.
        content_type: the media type of the body.
        write: the body for images ``[rows, 28, 28]``.
        read: the answers in a body, one for each image. The function raises ValueError, LookupError, TypeError or
            AttributeError for a body without answers. None for a server that computes no answers.
        headers: additional headers.
    """

    path: str
    content_type: str
    write: Callable[[Images], bytes]
    read: Callable[[bytes], list[Row]] | None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def connection(self) -> type[Connection]:
        """The class of the connections that carry the requests."""
        return HttpConnection

    def request(self, query: str, host: str, body: bytes) -> bytes:
        """A request, as bytes for a connection.

        Args:
            query: the query of the URL, without the question mark.
            host: the host.
            body: the body.
        """
        fields = (("Host", host), ("Content-Type", self.content_type), ("Content-Length", len(body)), *self.headers)
        lines = (
            f"POST {self.path}{'?' if query else ''}{query} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields),
        )
        return "\r\n".join((*lines, "\r\n")).encode() + body


class RpcForm(Form):
    """The format of a gRPC call and of its answer."""

    @property
    def connection(self) -> type[Connection]:
        """The class of the connections that carry the calls."""
        return RpcConnection

    def request(self, query: str, host: str, body: bytes) -> bytes:  # noqa: ARG002 (a call has no query)
        """A call, as bytes for a connection."""
        return rpc_frames(self.path, host, body)


class MultiplexedRpcForm(RpcForm):
    """The same for calls that share connections."""

    @property
    def connection(self) -> type[Connection]:
        """The class of the connections that carry the calls."""
        return MultiplexedRpcConnection


def pixels(images: Images) -> bytes:
    """The grey levels of the images, one byte each."""
    return images.tobytes()


def image_list(images: Images) -> bytes:
    """JSON with the images as rows of grey levels."""
    return _json({"images": images.tolist()})


def predictions(body: bytes) -> list[Row]:
    """The answers of the service and of the contenders in this repository."""
    return [_prediction(each) for each in json.loads(body)["predictions"]]


def _prediction(prediction: dict[str, Any]) -> Row:
    solver = prediction.get("solver") or {}
    known = (solver.get(name) for name in ("nfe", "rtol", "degraded"))
    return Row(int(prediction["digit"]), *(nan if value is None else float(value) for value in known))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


RAW = Form("/predict", "application/octet-stream", pixels, predictions)
JSON = Form("/predict", "application/json", image_list, predictions)
UNREAD = Form("/predict", "application/octet-stream", pixels, None)
"""The form for the floors, which receive an image and compute nothing."""
