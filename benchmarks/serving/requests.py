"""The requests of a load: images of MNIST's test set, in one kind of request or a mix of kinds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.serving.forms import RAW, Form

DRAWN_AT_ONCE = 4096
"""Number of kinds that we draw at once, because drawing them one by one is slower."""


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
        share: the share of this kind, relative to the shares of the other kinds: in an open loop its share of the
            requests, in a closed loop its share of the connections.
        images: how many images a body has.
        form: the format of request and answer.
    """

    name: str = "all"
    query: str = ""
    share: float = 1.0
    images: int = 1
    form: Form = RAW


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

    def next(self, kind: int | None = None) -> Request:
        """The next request.

        Args:
            kind: the index of its kind.  Default: we draw the kind.
        """
        if kind is None:
            if not self._drawn:
                self._drawn = self._mix.choice(len(self._shares), DRAWN_AT_ONCE, p=self._shares).tolist()
            kind = self._drawn.pop()
        prepared = self._prepared[kind]
        request = prepared[self._sent[kind] % len(prepared)]
        self._sent[kind] += 1
        return request


def _prepare(number: int, kind: Kind, digits: Digits, order: npt.NDArray[np.int64], host: str) -> list[Request]:
    """The requests of a kind that go through the test set once. A remainder too small for a body is left out."""
    requests = []
    for start in range(0, len(order) - kind.images + 1, kind.images):
        indices = order[start : start + kind.images]
        body = kind.form.write(digits.images[indices])
        requests.append(Request(number, indices, kind.form.request(kind.query, host, body)))
    return requests
