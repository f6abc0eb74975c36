"""The requests of a load: images of MNIST's test set, in one kind of request or a mix of kinds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DRAWN_AT_ONCE = 4096
"""How many kinds are drawn in advance, which is faster than one by one."""


class Digits(NamedTuple):
    """Images ``[rows, 28, 28]`` and their labels ``[rows]``."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        name: the name in the results.
        query: the query of the URL, without the question mark.
        share: the share of this kind among the requests, relative to the shares of the other kinds.
        images: how many images a body has.
    """

    name: str = "all"
    query: str = ""
    share: float = 1.0
    images: int = 1


class Request(NamedTuple):
    """A request, ready to be written to a socket.

    Attributes:
        kind: the index of its kind.
        image_indices: the indices in the test set of the images in the body.
        content: the bytes of head and body.
    """

    kind: int
    image_indices: npt.NDArray[np.int64]
    content: bytes


class RequestSequence:
    """An endless sequence of requests.

    Each kind goes through the whole test set in an order that depends only on the seed. So two runs with one seed send
    the same images, even if their kinds differ.

    Args:
        kinds: the kinds to mix.
        digits: the images to send.
        seed: the seed for the order of the images and of the kinds.
        host: the host in the head of each request.
    """

    def __init__(self, kinds: tuple[Kind, ...], digits: Digits, seed: int, host: str) -> None:
        order = np.random.default_rng(seed).permutation(len(digits.labels))
        self._prepared = [_prepare(number, kind, digits, order, host) for number, kind in enumerate(kinds)]
        self._sent = [0] * len(kinds)
        shares = np.array([kind.share for kind in kinds])
        self._shares = shares / shares.sum()
        self._mix = np.random.default_rng([seed, 1])
        self._drawn: list[int] = []

    def next(self) -> Request:
        """The next request."""
        if not self._drawn:
            self._drawn = self._mix.choice(len(self._shares), DRAWN_AT_ONCE, p=self._shares).tolist()
        kind = self._drawn.pop()
        prepared = self._prepared[kind]
        request = prepared[self._sent[kind] % len(prepared)]
        self._sent[kind] += 1
        return request


def _prepare(number: int, kind: Kind, digits: Digits, order: npt.NDArray[np.int64], host: str) -> list[Request]:
    """The requests of a kind that go through the test set once. A remainder too small for a body is left out."""
    pixels = digits.images[order].reshape(len(order), -1)
    size = kind.images * pixels.shape[1]
    head = (
        f"POST /predict{'?' if kind.query else ''}{kind.query} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
    whole = range(0, len(order) - kind.images + 1, kind.images)
    return [
        Request(number, order[start : start + kind.images], head + pixels[start : start + kind.images].tobytes())
        for start in whole
    ]
