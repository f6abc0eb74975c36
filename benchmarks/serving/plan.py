"""What a load is: how requests arrive, what they are, and for how long."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.serving.questions import Kind

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Closed:
    """Each connection sends its next request when the answer is there.

    Attributes:
        connections: how many, and so how many requests are in flight.
        seconds: how long, after the warm-up.
        warm_up: seconds before, which do not count.
    """

    connections: int
    seconds: float
    warm_up: float = 0.5

    @property
    def length(self) -> float:
        """Seconds that arrivals come in."""
        return self.warm_up + self.seconds


class Phase(NamedTuple):
    """Arrivals at a rate.

    Attributes:
        rate: requests a second.
        seconds: how long.
    """

    rate: float
    seconds: float


@dataclass(frozen=True)
class Open:
    """Requests arrive by a Poisson process, one phase after the other.

    Attributes:
        phases: the first begins with the warm-up.
        warm_up: seconds that do not count.
        connections: the most that are opened; a request that finds none free waits, and its wait counts.
    """

    phases: tuple[Phase, ...]
    warm_up: float = 0.5
    connections: int = 512

    @property
    def length(self) -> float:
        """Seconds that arrivals come in."""
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True)
class Plan:
    """A load.

    Attributes:
        port: of the server.
        load: how requests arrive.
        kinds: what they are.
        seed: of the images, the kinds and the arrivals.
        patience: seconds after the last arrival until requests still unanswered are given up.
    """

    port: int
    load: Closed | Open
    kinds: tuple[Kind, ...] = (Kind(),)
    seed: int = 0
    patience: float = 10.0


def arrivals(phases: tuple[Phase, ...], seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """When requests arrive, in seconds."""
    random = np.random.default_rng([seed, 2])
    began, moments = 0.0, []
    for rate, seconds in phases:
        expected = rate * seconds
        gaps = random.exponential(1 / rate, int(expected + 10 * expected**0.5) + 10)
        within = began + np.cumsum(gaps)
        moments.append(within[within < began + seconds])
        began += seconds
    return np.concatenate(moments)
