"""The costs of a model on this machine: measured when the model is loaded, and corrected while it serves."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.backends.protocol import Backend
from models.solvers.settings import SolverSettings
from service.engine.candidate import NO_ARGUMENTS
from service.engine.tuning import PACE_MEMORY

PASSES = 4
"""Runs per part at few rows. We keep the fastest, because other load can only slow a run down."""

FEWEST_PASSES = 2
"""Runs per part at many rows, where other load has less effect. The first run is slow and never the fastest."""

ROWS_TIMED = 48
"""Limit of rows per part in all runs together, but at least `FEWEST_PASSES` runs."""

LEARNING_RATE = 0.02
"""Weight of one more iteration in the correction."""

LARGEST_PACE = 20.0
"""Limit on the pace of one iteration. A network of little computation has a pace of about ten, because of the event
loop."""

LARGEST_SURPRISE = 4.0
"""Limit on the ratio of the measured to the predicted time of an iteration. The lower limit is 1 over this limit."""

Table = tuple[float, ...]
"""Seconds by the number of rows, from 0 on."""


@dataclass
class Costs:
    """Seconds of the parts of a model, by the number of rows in the same batch.

    Attributes:
        stem: seconds of the stem.
        evaluation: seconds of one evaluation of f, with its share of a step; zeros for a model without an ODE.
        head: seconds of the head.
        correction: the present speed of the machine, as a multiple of the seconds that were measured at first.
    """

    stem: Table
    evaluation: Table
    head: Table
    correction: float = 1.0

    @classmethod
    def measure(cls, backend: Backend, solver: SolverSettings | None, most_rows: int) -> "Costs":
        """Time the parts at one row, four, 16 and so on and at the most rows, and interpolate the costs in between.

        Args:
            backend: the model's backend.
            solver: the settings whose step is timed; None for a model without an ODE.
            most_rows: the largest number of rows in the tables.
        """
        sizes = sorted({*(1 << power for power in range(0, most_rows.bit_length(), 2)), most_rows})
        measured = np.array([_time_parts(backend, solver, rows) for rows in sizes])

        def table(seconds: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Table:
            rising = np.maximum.accumulate(seconds)
            return tuple(float(value) for value in np.interp(range(most_rows + 1), [0, *sizes], [0, *rising]))

        stem, evaluation, head = (table(column) for column in measured.T)
        return cls(stem, evaluation, head)

    def answer(self, rows: int, nfe: float) -> float:
        """Estimated seconds to answer images in one batch.

        Args:
            rows: the number of images.
            nfe: evaluations of f for each image.
        """
        return self.correction * (self.stem[rows] + nfe * self.evaluation[rows] + self.head[rows])

    def step(self, rows: int, evaluations: int) -> float:
        """Estimated seconds of one step, or of the whole network for a model without an ODE.

        Args:
            rows: the number of images.
            evaluations: evaluations of f in a step; 0 for a model without an ODE.
        """
        if evaluations:
            return self.correction * evaluations * self.evaluation[rows]
        return self.answer(rows, 0)

    def alone(self, joined: int, stepped: int, evaluations: int, answered: int) -> float:
        """Estimated seconds of the parts of an iteration if its images were computed one by one.

        Args:
            joined: the number of rows that passed the stem.
            stepped: the number of rows that attempted a step.
            evaluations: evaluations of f in the step.
            answered: the number of rows that passed the head.
        """
        seconds = joined * self.stem[1] + stepped * evaluations * self.evaluation[1] + answered * self.head[1]
        return self.correction * seconds

    def rows_within(self, seconds: float, evaluations: int) -> int:
        """How many images may take a step together within some seconds; at least 1. For the arguments, see `step`."""
        rows = range(1, len(self.stem))
        return max(1, bisect_right(rows, seconds, key=lambda n: self.step(n, evaluations)))

    def stems_within(self, seconds: float) -> int:
        """How many images may pass the stem together within some seconds; at least 1."""
        return max(1, bisect_right(self.stem, seconds / self.correction) - 1)

    def correct(self, joined: int, stepped: int, evaluations: int, seconds: float) -> None:
        """Correct the costs by the time of an iteration.

        Args:
            joined: the number of rows that passed the stem.
            stepped: the number of rows that attempted a step.
            evaluations: evaluations of f in the step.
            seconds: the time of the iteration.
        """
        last = len(self.stem) - 1
        predicted = self.stem[min(joined, last)] + evaluations * self.evaluation[min(stepped, last)] + self.head[1]
        surprise = seconds / (self.correction * predicted)
        surprise = min(max(surprise, 1 / LARGEST_SURPRISE), LARGEST_SURPRISE)
        self.correction += LEARNING_RATE * self.correction * (surprise - 1)


class Pace:
    """The seconds that pass while a busy thread does one second of the expected work, lately.

    The expected work is that of images computed one by one. Images in one batch take less, and everything that the
    thread does between two iterations adds to it.

    Attributes:
        value: the ratio: of averages with exponential decay.
    """

    def __init__(self) -> None:
        self.value = 1.0
        self._seconds, self._expected = 0.0, 0.0

    def add(self, seconds: float, expected: float) -> None:
        """Count an iteration: the seconds that have passed, and the expected seconds of its work.

        A pause of the whole process says nothing about the next iteration, so a very long time counts as a long one.
        """
        self._seconds = PACE_MEMORY * self._seconds + min(seconds, LARGEST_PACE * expected)
        self._expected = PACE_MEMORY * self._expected + expected
        if self._expected > 0:
            self.value = self._seconds / self._expected


def _time_parts(backend: Backend, solver: SolverSettings | None, rows: int) -> tuple[float, float, float]:
    """Seconds of the stem, of an evaluation and of the head, for a number of rows."""
    flight = backend.flight(None if solver is None else solver.method, rows)
    images = np.zeros((rows, 28, 28), np.uint8)
    places = list(range(rows))
    arguments = NO_ARGUMENTS if solver is None else solver.arguments
    stems, steps, heads = [], [], []

    def seconds(call: Callable[[], object]) -> float:
        started = backend.clock()
        call()
        return backend.clock() - started

    def join() -> None:
        flight.join(images, [arguments] * rows, [None] * rows)

    def leave() -> None:
        flight.leave(places)

    join()  # takes memory from the system, which makes this stem and the next one slow
    leave()
    for _ in range(min(PASSES, max(FEWEST_PASSES, ROWS_TIMED // rows))):
        stems.append(seconds(join))
        steps.append(seconds(flight.attempt))
        heads.append(seconds(leave))
    if flight.tableau is None:
        return min(stems), 0.0, min(heads)
    evaluation = min(steps) / flight.tableau.evaluations_per_step
    return max(0.0, min(stems) - flight.tableau.evaluations_to_start * evaluation), evaluation, min(heads)
