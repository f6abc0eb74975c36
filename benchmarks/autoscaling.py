"""Simulates how autoscalers react to a burst: how many images are refused, how long images wait, how long it takes.

    python -m benchmarks.autoscaling

The autoscaler is the HorizontalPodAutoscaler of Kubernetes, with the targets, limits and policies of deploy/kubernetes.
KEDA gives it the queued images and the refusals. The model is a fluid: in each tick, the images spread evenly over the
replicas that are ready, and a replica answers as many as it can. The program reads no clock and makes no measurement.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import typer

CAPACITY = 2197.0
"""Images/s of a replica with two processors (docs/measurements.md)."""

QUEUE_SECONDS = 2.0
"""Seconds that an image may wait in the queue of a replica. An image that would wait longer is refused."""

TICK = 0.1
"""Seconds of a tick."""

START_SECONDS = 15.0
"""Seconds from the decision for a replica until it is ready: scheduling, start, load, probe. An assumption; a node that
must start first takes minutes."""

SYNC_SECONDS = 15.0
"""Seconds between two decisions (Kubernetes, --horizontal-pod-autoscaler-sync-period)."""

CPU_WINDOW = 15.0
"""Seconds over which the metrics server averages the processor time."""

SCRAPE_SECONDS = 5.0
"""Age of the queue's length when it is used, at most (interval of the ServiceMonitor)."""

SHED_WINDOW = 60.0
"""Seconds over which the rate of refusals is measured."""

LEAST, MOST = 2, 20
TOLERANCE = 0.1
"""The autoscaler ignores a ratio this close to 1 (Kubernetes, --horizontal-pod-autoscaler-tolerance)."""

UP_PERIOD, UP_FACTOR = 15.0, 2.0
DOWN_STABLE, DOWN_PERIOD, DOWN_FACTOR = 300.0, 60.0, 0.75

CPU_TARGET = 0.7
QUEUE_TARGET = 64.0
SHED_TARGET = 1.0

BURST_AT, BURST_END, END = 120.0, 420.0, 900.0
CALM, BURST = 2000.0, 20000.0
"""Images/s outside of the burst and in the burst."""


class Reading(NamedTuple):
    """What the autoscaler reads.

    Attributes:
        ready: the replicas that are ready.
        utilization: the processor time, as a share of the requested processors of the ready replicas.
        queued: images in all queues.
        shed: refused images in a second.
    """

    ready: int
    utilization: float
    queued: float
    shed: float


Metric = Callable[[Reading], float]
"""The replicas that a metric asks for, as a real number."""


def by_processors(reading: Reading) -> float:
    """The replicas at which the processors would be used as far as the target."""
    return reading.ready * reading.utilization / CPU_TARGET


def by_queue(reading: Reading) -> float:
    """The replicas at which each would have as many queued images as the target."""
    return reading.queued / QUEUE_TARGET


def by_refusals(reading: Reading) -> float:
    """The replicas at which each would refuse as many images in a second as the target."""
    return reading.shed / SHED_TARGET


SCALERS: dict[str, tuple[Metric, ...]] = {
    "processor time (base)": (by_processors,),
    "queued images alone": (by_queue,),
    "processor time, queued images and refusals (KEDA)": (by_processors, by_queue, by_refusals),
}


@dataclass
class Autoscaler:
    """The HorizontalPodAutoscaler: the metric that asks for the most replicas decides.

    Args:
        metrics: the metrics.

    Attributes:
        replicas: the replicas that should run.
    """

    metrics: tuple[Metric, ...]
    replicas: int = LEAST
    _history: list[tuple[float, int]] = field(default_factory=lambda: [(-math.inf, LEAST)])
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, reading: Reading) -> None:
        """Set the number of replicas, within the limits, the policies and the stabilization."""
        wanted = max(LEAST, *(self._replicas_for(metric(reading)) for metric in self.metrics))
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - DOWN_STABLE:
            self._wanted.popleft()
        if wanted > self.replicas:
            most = math.ceil(self._at(now - UP_PERIOD) * UP_FACTOR)
            self._set(now, min(wanted, most, MOST))
        elif (stable := max(each for _, each in self._wanted)) < self.replicas:
            least = math.floor(self._at(now - DOWN_PERIOD) * DOWN_FACTOR)
            self._set(now, max(stable, least, LEAST))

    def _replicas_for(self, wanted: float) -> int:
        """The replicas that a metric asks for: the present ones if they are about right."""
        return self.replicas if abs(wanted / self.replicas - 1) <= TOLERANCE else math.ceil(wanted)

    def _at(self, time: float) -> int:
        """The number of replicas at an earlier time."""
        return next(replicas for since, replicas in reversed(self._history) if since <= time)

    def _set(self, now: float, replicas: int) -> None:
        if replicas != self.replicas:
            self.replicas = replicas
            self._history.append((now, replicas))


class Outcome(NamedTuple):
    """What a burst cost.

    Attributes:
        arrived: images that arrived.
        shed: images that were refused.
        longest_wait: the longest time that an image waited, in seconds.
        refusing: seconds from the beginning of the burst to the last refusal; 0 without a refusal.
        enough: seconds from the beginning of the burst until the ready replicas could answer all of it; None if never.
        replica_seconds: the replicas that ran, multiplied by their time.
    """

    arrived: float
    shed: float
    longest_wait: float
    refusing: float
    enough: float | None
    replica_seconds: float


@dataclass
class Fleet:
    """The replicas, with one queue for all, because the balancer spreads the images evenly.

    Attributes:
        ready: the replicas that are ready.
        starting: for each replica that starts, when it will be ready.
        queued: images in the queues.
    """

    ready: int = LEAST
    starting: list[float] = field(default_factory=list)
    queued: float = 0.0

    def scale(self, now: float, replicas: int) -> None:
        """Start or end replicas, so that this number runs or starts. The images of a replica that ends are kept."""
        more = replicas - self.ready - len(self.starting)
        if more > 0:
            self.starting += [now + START_SECONDS] * more
        elif more < 0:
            self.starting = self.starting[:more] if len(self.starting) > -more else []
            self.ready = min(self.ready, replicas - len(self.starting))

    def tick(self, now: float, arriving: float) -> tuple[float, float]:
        """Answer and refuse images for a tick. Return how many were answered, and how many were refused."""
        self.ready += sum(at <= now for at in self.starting)
        self.starting = [at for at in self.starting if at > now]
        served = min(self.queued + arriving, self.ready * CAPACITY * TICK)
        waiting = self.queued + arriving - served
        self.queued = min(waiting, self.ready * CAPACITY * QUEUE_SECONDS)
        return served, waiting - self.queued


def simulate(metrics: tuple[Metric, ...], calm: float = CALM, burst: float = BURST) -> Outcome:
    """Simulate a burst.

    Args:
        metrics: what the autoscaler scales on.
        calm: images/s outside of the burst.
        burst: images/s in the burst.
    """
    fleet, scaler = Fleet(), Autoscaler(metrics)
    used = deque[float](maxlen=round(CPU_WINDOW / TICK))
    shedding = deque[float](maxlen=round(SHED_WINDOW / TICK))
    queue = deque[float](maxlen=round(SCRAPE_SECONDS / TICK))
    arrived = shed = longest = refusing = replica_seconds = 0.0
    enough: float | None = None
    for number in range(round(END / TICK)):
        now = number * TICK
        arriving = (burst if BURST_AT <= now < BURST_END else calm) * TICK
        answered, refused = fleet.tick(now, arriving)
        used.append(answered / (fleet.ready * CAPACITY * TICK))
        shedding.append(refused / TICK)
        queue.append(fleet.queued)
        arrived, shed = arrived + arriving, shed + refused
        longest = max(longest, fleet.queued / (fleet.ready * CAPACITY))
        replica_seconds += (fleet.ready + len(fleet.starting)) * TICK
        if refused:
            refusing = now - BURST_AT
        if enough is None and now >= BURST_AT and fleet.ready * CAPACITY >= burst:
            enough = now - BURST_AT
        if number % round(SYNC_SECONDS / TICK) == 0:
            average = sum(used) / len(used)
            scaler.decide(now, Reading(fleet.ready, average, queue[0], sum(shedding) / len(shedding)))
            fleet.scale(now, scaler.replicas)
    return Outcome(arrived, shed, longest, refusing, enough, replica_seconds)


HEADINGS = (
    "scaled on", "enough replicas after, s", "last refusal after, s", "refused", "longest wait, ms", "replica-hours",
)  # fmt: skip


def main() -> None:
    """Print a table with a row for each autoscaler."""
    typer.echo(f"burst from {CALM:,.0f} to {BURST:,.0f} images/s for {BURST_END - BURST_AT:g} s\n")
    typer.echo(f"| {' | '.join(HEADINGS)} |")
    typer.echo(f"| {' | '.join('---' for _ in HEADINGS)} |")
    for name, metrics in SCALERS.items():
        outcome = simulate(metrics)
        cells = (
            name,
            "never" if outcome.enough is None else f"{outcome.enough:.0f}",
            f"{outcome.refusing:.0f}",
            f"{outcome.shed / outcome.arrived:.1%}",
            f"{1e3 * outcome.longest_wait:.0f}",
            f"{outcome.replica_seconds / 3600:.2f}",
        )
        typer.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
