"""The description of a load: the arrival of requests, their kinds, and the duration."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.serving.bursts import Times
from benchmarks.serving.requests import Kind

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Closed:
    """A closed loop: each connection sends its next request when it has received the answer.

    Every connection sends one kind of request. The shares of the kinds set how many connections a kind has.

    Attributes:
        connections: the number of requests in flight, each on a connection of its own. Some forms have connections that
            carry several requests, and so need fewer.
        seconds: the duration after the warm-up.
        warm_up: seconds at the start that do not count.
    """

    connections: int
    seconds: float
    warm_up: float = 0.5

    @property
    def length(self) -> float:
        """Seconds in which requests arrive."""
        return self.warm_up + self.seconds


class Phase(NamedTuple):
    """Arrivals at a constant rate.

    Attributes:
        rate: requests per second.
        seconds: the duration.
    """

    rate: float
    seconds: float


@dataclass(frozen=True)
class Open:
    """An open loop: requests arrive according to a Poisson process, one phase after the other.

    Attributes:
        phases: the phases; the first includes the warm-up.
        warm_up: seconds at the start that do not count.
        connections: the largest number of connections. A request that finds no idle connection waits, and the wait
            counts as latency.
    """

    phases: tuple[Phase, ...]
    warm_up: float = 0.5
    connections: int = 512

    @property
    def length(self) -> float:
        """Seconds in which requests arrive."""
        return sum(phase.seconds for phase in self.phases)

    def arrivals(self, seed: int) -> Times:
        """The arrival times of requests, in seconds from the start."""
        return arrivals(self.phases, seed)


@dataclass(frozen=True, eq=False)
class Replay:
    """An open loop: requests arrive at given times.

    Attributes:
        times: the arrivals, in seconds from the start, in ascending order.
        length: seconds in which requests arrive.
        warm_up: seconds at the start that do not count.
        connections: as in `Open`.
    """

    times: Times
    length: float
    warm_up: float = 0.5
    connections: int = 512

    def arrivals(self, seed: int) -> Times:  # noqa: ARG002 (the times are given)
        """The arrival times of requests, in seconds from the start."""
        return self.times


@dataclass(frozen=True)
class Plan:
    """A load.

    Attributes:
        port: the port of the server.
        load: how requests arrive.
        kinds: the kinds of request. Their forms have one class of connections.
        seed: the seed for the images, the kinds and the arrivals.
        patience: seconds to wait for answers after the last arrival.
        source: the address of the caller; None for the usual one.
    """

    port: int
    load: Closed | Open | Replay
    kinds: tuple[Kind, ...] = (Kind(),)
    seed: int = 0
    patience: float = 10.0
    source: str | None = None


def kinds_of_connections(kinds: tuple[Kind, ...], connections: int) -> list[int]:
    """The index of the kind of each connection of a closed loop, such that each kind has its share, rounded."""
    ends = np.cumsum([kind.share for kind in kinds])
    middles = (np.arange(connections) + 0.5) / connections
    chosen: list[int] = np.searchsorted(ends / ends[-1], middles).tolist()
    return chosen


def arrivals(phases: tuple[Phase, ...], seed: int) -> Times:
    """The arrival times of requests, in seconds from the start."""
    random = np.random.default_rng([seed, 2])
    began, times = 0.0, []
    for rate, seconds in phases:
        expected = rate * seconds
        gaps = random.exponential(1 / rate, int(expected + 10 * expected**0.5) + 10)
        within = began + np.cumsum(gaps)
        times.append(within[within < began + seconds])
        began += seconds
    return np.concatenate(times)
