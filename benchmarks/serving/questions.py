"""What is asked: images of MNIST's test set, in one kind of request or a mix of kinds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DRAWN_AT_ONCE = 4096


class Digits(NamedTuple):
    """Images ``[rows, 28, 28]`` and their labels ``[rows]``."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """One kind of request.

    Attributes:
        name: what it is called in results.
        query: what follows the question mark, without it.
        share: of the requests, in proportion to those of the other kinds.
        images: in a body.
    """

    name: str = "all"
    query: str = ""
    share: float = 1.0
    images: int = 1


class Question(NamedTuple):
    """A request, ready to be written to a socket.

    Attributes:
        kind: the number of its kind.
        rows: the images of its body, by their numbers in the test set.
        content: its bytes, head and body.
    """

    kind: int
    rows: npt.NDArray[np.int64]
    content: bytes


class Questions:
    """An endless sequence of requests.

    Each kind goes through the whole test set in an order that only the seed decides, so that two runs of one seed ask
    the same images, whatever their kinds are.

    Args:
        kinds: to mix.
        digits: what to ask.
        seed: of the order of the images and of the kinds.
        host: for the head of each request.
    """

    def __init__(self, kinds: tuple[Kind, ...], digits: Digits, seed: int, host: str) -> None:
        order = np.random.default_rng(seed).permutation(len(digits.labels))
        self._prepared = [_prepare(number, kind, digits, order, host) for number, kind in enumerate(kinds)]
        self._asked = [0] * len(kinds)
        shares = np.array([kind.share for kind in kinds])
        self._shares = shares / shares.sum()
        self._mix = np.random.default_rng([seed, 1])
        self._drawn: list[int] = []

    def next(self) -> Question:
        """The next request."""
        if not self._drawn:
            self._drawn = self._mix.choice(len(self._shares), DRAWN_AT_ONCE, p=self._shares).tolist()
        kind = self._drawn.pop()
        prepared = self._prepared[kind]
        question = prepared[self._asked[kind] % len(prepared)]
        self._asked[kind] += 1
        return question


def _prepare(number: int, kind: Kind, digits: Digits, order: npt.NDArray[np.int64], host: str) -> list[Question]:
    """The requests of a kind that go through the test set once; a rest too small for a body is left out."""
    pixels = digits.images[order].reshape(len(order), -1)
    size = kind.images * pixels.shape[1]
    head = (
        f"POST /predict{'?' if kind.query else ''}{kind.query} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
    whole = range(0, len(order) - kind.images + 1, kind.images)
    return [
        Question(number, order[start : start + kind.images], head + pixels[start : start + kind.images].tobytes())
        for start in whole
    ]
