"""What the parts of a model cost on this machine: measured at the start, corrected while serving."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.backends.protocol import Backend
from models.solvers.settings import SolverSettings

PASSES = 3
"""Times each part is timed; the least counts, as what else the machine does only adds."""

LEARNING_RATE = 0.02
"""How much one more measurement weighs in the correction."""

LARGEST_SURPRISE = 4.0
"""How much slower than predicted, or faster, one measurement is believed to be."""

Clock = Callable[[], float]
"""Seconds."""

Table = tuple[float, ...]
"""Seconds by the number of rows, from 0 on."""


@dataclass
class Costs:
    """Seconds of the parts of a model, by how many rows are computed together.

    Attributes:
        stem: of the stem.
        evaluation: of one evaluation of f, its share of a step included; zeros for a model without an ODE.
        head: of the head.
        correction: what the machine takes at present, as a multiple of what was measured at the start.
    """

    stem: Table
    evaluation: Table
    head: Table
    correction: float = 1.0

    @classmethod
    def measure(
        cls, backend: Backend, solver: SolverSettings | None, most_rows: int, clock: Clock = time.thread_time
    ) -> "Costs":
        """Time the parts at one row, two, four and so on; between them costs are interpolated.

        Args:
            backend: the model's.
            solver: whose step is timed; None for a model without an ODE.
            most_rows: up to which the tables go.
            clock: what to time by; by default what this thread has of a processor, so that a model that is loaded
                beside others, and stands back for them, does not seem slow. A GPU is timed by the clock on the wall.
        """
        sizes = sorted({*(1 << power for power in range(most_rows.bit_length())), most_rows})
        measured = np.array([_time(backend, solver, rows, clock) for rows in sizes])

        def table(seconds: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Table:
            rising = np.maximum.accumulate(seconds)
            return tuple(float(value) for value in np.interp(range(most_rows + 1), [0, *sizes], [0, *rising]))

        stem, evaluation, head = (table(column) for column in measured.T)
        return cls(stem, evaluation, head)

    def answer(self, rows: int, nfe: float) -> float:
        """Seconds of whole answers to rows that are computed together, in evaluations of f each."""
        return self.correction * (self.stem[rows] + nfe * self.evaluation[rows] + self.head[rows])

    def most_rows(self, evaluations: int, stem_seconds: float, step_seconds: float) -> int:
        """How many rows' stem, and how many rows' step of so many evaluations, end within a time; at least 1."""
        rows = range(len(self.stem) - 1, 0, -1)
        return next(
            (n for n in rows if self.stem[n] <= stem_seconds and evaluations * self.evaluation[n] <= step_seconds), 1
        )

    def correct(self, joined: int, stepped: int, evaluations: int, seconds: float) -> None:
        """Learn from what a turn took in which some rows joined, and others, or the same, were stepped."""
        last = len(self.stem) - 1
        predicted = self.stem[min(joined, last)] + evaluations * self.evaluation[min(stepped, last)] + self.head[1]
        surprise = seconds / (self.correction * predicted)
        surprise = min(max(surprise, 1 / LARGEST_SURPRISE), LARGEST_SURPRISE)
        self.correction += LEARNING_RATE * self.correction * (surprise - 1)


def _time(backend: Backend, solver: SolverSettings | None, rows: int, clock: Clock) -> tuple[float, float, float]:
    """Seconds of stem, evaluation and head at a number of rows."""
    flight = backend.flight(None if solver is None else solver.method, rows)
    images = np.zeros((rows, 28, 28), np.uint8)
    every = list(range(rows))
    stems, steps, heads = [], [], []
    for _ in range(PASSES + 1):  # the first is slow, and never the least
        stems.append(_seconds(lambda: flight.join(images, [solver] * rows, [None] * rows), clock))
        steps.append(_seconds(flight.attempt, clock))
        heads.append(_seconds(lambda: flight.leave(every), clock))
    if flight.tableau is None:
        return min(stems), 0.0, min(heads)
    evaluation = min(steps) / flight.tableau.evaluations_per_step
    return max(0.0, min(stems) - flight.tableau.evaluations_to_start * evaluation), evaluation, min(heads)


def _seconds(call: Callable[[], object], clock: Clock) -> float:
    started = clock()
    call()
    return clock() - started
