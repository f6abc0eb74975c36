"""A batch of one method whose rows may join and leave between two steps (in-flight batching).

`models.solvers.solve.solve` takes a batch from its beginning to its end. A `Flight` does the same solve one attempt at
a time. Its rows may be at different times and may have different step sizes and tolerances. Every attempt covers all
rows, and no row waits for another row to end.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.backends.trace import AttemptRecord, Reading, Trace
from models.solvers.attempt import Attempt, is_last
from models.solvers.settings import SolverSettings
from models.solvers.solve import MAX_STEPS, Outcome, equal_steps, judge
from models.solvers.tableau import Tableau

T1 = 1.0
"""The end of the interval."""

Slots = npt.NDArray[np.intp] | slice
"""The slots of some rows."""


class Start(NamedTuple):
    """The first step size and the tolerances of a row."""

    h: float
    rtol: float
    atol: float


class Flight(ABC):
    """Arrays of a fixed capacity whose first slots hold the rows. A flight may be used by one thread at a time.

    Args:
        tableau: the method; None for a network without an ODE, whose rows end at their first attempt.
        capacity: the greatest number of rows.

    Attributes:
        rows: the number of rows. They occupy the slots 0 to ``rows - 1``.
        capacity: the greatest number of rows.
    """

    def __init__(self, tableau: Tableau | None, capacity: int) -> None:
        self.tableau = tableau
        self.capacity = capacity
        self.rows = 0
        self._adaptive = tableau is not None and tableau.adaptive
        self._counts = np.zeros((5, capacity), np.int64)
        self._steps, self._rejected, self._outcome, self._forced, self._step_limit = self._counts
        self._error, self._atol = self._sizes = np.zeros((2, capacity), np.float32)
        self._any_forced = False
        self._traces: dict[int, Trace] = {}

    @property
    def traced(self) -> bool:
        """Whether at least one row is traced."""
        return bool(self._traces)

    def join(
        self,
        images: Images | Sequence[Images],
        solvers: Sequence[SolverSettings | None],
        max_nfe: Sequence[int | None],
        traces: Iterable[Trace | None] = (),
    ) -> None:
        """Run the stem on images and add them as new rows in the next free slots.

        Args:
            images: uint8 ``[28, 28]`` each; at most as many as there are free slots.
            solvers: one setting per image, each with the method of this flight; None for a network without an ODE.
            max_nfe: for each image the greatest number of evaluations of f, or None for no limit. A limit must allow
                at least one step.
            traces: for each image the trace that records its solve, or None. A network without an ODE records nothing.
        """
        first, self.rows = self.rows, self.rows + len(images)
        starts = [_start(self.tableau, solver) for solver in solvers]
        self._begin(images, first, starts)
        self._counts[:, first : self.rows] = 0
        self._error[first : self.rows] = 0
        for slot, (start, limit) in enumerate(zip(starts, max_nfe, strict=True), first):
            self._atol[slot] = start.atol
            self._step_limit[slot] = self._affordable_steps(limit)
        if traced := {slot: trace for slot, trace in enumerate(traces, first) if trace is not None}:
            self._traces |= traced
            self._record_readings(traced, [0.0] * len(traced))

    def attempt(self) -> list[int]:
        """Attempt a step for every row.

        Returns:
            The slots of the rows that have ended, in ascending order.
        """
        n = self.rows
        if self.tableau is None:
            return list(range(n))
        self._steps[:n] += 1
        at_limit = self._steps[:n] == self._step_limit[:n]
        if any_at_limit := at_limit.any():
            self.finish(np.flatnonzero(at_limit & (self._step_limit[:n] < MAX_STEPS)).tolist(), Outcome.max_nfe)
        before = [(slot, *self._time_and_step(slot)) for slot in self._traces]
        tried = self._attempt(n)
        if tried.accepted.all() and not self._any_forced:  # the most frequent case; it needs less than `_judge`
            self._error[:n] += tried.error
            self._outcome[:n] = Outcome.converged  # a row that goes on gets its final outcome later
            ended = tried.t >= T1
        else:
            ended = self._judge(tried)
        if any_at_limit:
            self._outcome[:n][at_limit & ~ended] = Outcome.max_steps
            ended |= at_limit
        if before:
            self._record_attempts(before, tried, ended)
        slots: list[int] = np.flatnonzero(ended).tolist()
        return slots

    def finish(self, slots: Sequence[int], reason: Outcome) -> None:
        """Make the next attempt of some rows go all the way to t1, even if its error is too large.

        Such a row ends with the reason as its outcome. It ends as converged if the error of its last step is within
        its absolute tolerance, because that step would have been accepted anyway.

        Args:
            slots: the slots of the rows.
            reason: `Outcome.max_nfe` or `Outcome.deadline`.
        """
        for slot in slots:
            t, h = self._time_and_step(slot)
            if self._adaptive or not is_last(t, h, T1):
                self._forced[slot] = reason
                self._any_forced = True
                self._restart(slot, Start(h=T1, rtol=0.0, atol=np.inf))

    def leave(self, slots: Sequence[int]) -> Answer:
        """Run the head on some rows and remove these rows.

        Args:
            slots: the slots of the rows, in ascending order, at least one.

        Returns:
            The answers, in the order of the slots.
        """
        index = slice(self.rows) if len(slots) == self.rows else np.asarray(slots)
        steps, rejected, outcome, *_ = self._counts[:, index].copy()
        nfe = steps if self.tableau is None else self.tableau.evaluations(steps)
        answer = Answer(self._logits(index), steps, rejected, nfe, self._error[index].copy(), outcome)
        if self._traces:
            self._record_ends(slots, answer)
        self.drop(slots)
        return answer

    def drop(self, slots: Sequence[int]) -> None:
        """Remove rows without an answer, from the greatest slot to the least. The last row fills each freed slot.

        Args:
            slots: the slots of the rows, in ascending order.
        """
        for slot in reversed(slots):
            self.rows -= 1
            if slot != self.rows:
                self._move(self.rows, slot)
                self._counts[:, slot] = self._counts[:, self.rows]
                self._sizes[:, slot] = self._sizes[:, self.rows]
            if self._traces:
                self._traces.pop(slot, None)
                if self.rows in self._traces:
                    self._traces[slot] = self._traces.pop(self.rows)

    def _affordable_steps(self, max_nfe: int | None) -> int:
        """The number of steps that a limit of evaluations allows, at most `MAX_STEPS`."""
        if max_nfe is None or self.tableau is None:
            return MAX_STEPS
        affordable = (max_nfe - self.tableau.evaluations_to_start) // self.tableau.evaluations_per_step
        return min(affordable, MAX_STEPS)

    def _judge(self, tried: Attempt) -> npt.NDArray[np.bool_]:
        """Store the outcome of an attempt for every row; return which rows have ended, ``[rows]``."""
        n = self.rows
        self._rejected[:n] += ~tried.accepted
        self._error[:n] += np.where(tried.accepted, tried.error, 0)
        outcome = judge(tried, T1)
        if self._any_forced:
            within = self._adaptive & (tried.error <= self._atol[:n])
            last = np.where(within, int(Outcome.converged), self._forced[:n])
            last = np.where(tried.accepted, last, int(Outcome.non_finite))
            outcome = np.where(self._forced[:n] == 0, outcome, last)
            self._any_forced = False
        self._outcome[:n] = outcome
        ended: npt.NDArray[np.bool_] = outcome != int(Outcome.max_steps)
        return ended

    def _record_attempts(
        self, before: list[tuple[int, float, float]], tried: Attempt, ended: npt.NDArray[np.bool_]
    ) -> None:
        """Record an attempt in the traces.

        Args:
            before: for each traced row its slot, and its time and step size before the attempt.
            tried: the attempt.
            ended: which rows have ended, ``[rows]``.
        """
        going_on = []
        for slot, t, h in before:
            start, step = np.float32(t), np.float32(h)
            size = T1 - t if is_last(start, step, T1) else h
            accepted = bool(tried.accepted[slot])
            self._traces[slot].attempts.append(AttemptRecord(t, size, float(tried.error[slot]), accepted))
            if accepted and not ended[slot]:
                going_on.append(slot)
        if going_on:
            self._record_readings(going_on, tried.t[going_on].tolist())

    def _record_readings(self, slots: Iterable[int], times: list[float]) -> None:
        """Record in the traces the logits of the current states in some slots, with their times."""
        index = np.fromiter(slots, np.intp)
        for slot, t, logits in zip(index.tolist(), times, self._logits(index), strict=True):
            self._traces[slot].depth.append(Reading(t, logits))

    def _record_ends(self, slots: Sequence[int], answer: Answer) -> None:
        """Record in the traces the final logits of the rows that leave from some slots."""
        for row, slot in enumerate(slots):
            if (trace := self._traces.get(slot)) and trace.attempts[-1].accepted:
                t, _ = self._time_and_step(slot)
                trace.depth.append(Reading(t, answer.logits[row]))

    @abstractmethod
    def _begin(self, images: Images | Sequence[Images], first: int, starts: list[Start]) -> None:
        """Fill the slots from the first on: with the stem's states, their times and, for an FSAL method, f there."""

    @abstractmethod
    def _attempt(self, rows: int) -> Attempt:
        """Attempt a step for the first rows and update their states.

        Returns:
            The times, step sizes, errors and acceptances as NumPy arrays; the states stay where they are.
        """

    @abstractmethod
    def _time_and_step(self, slot: int) -> tuple[float, float]:
        """The time of a row, and the size of the step that it attempts next."""

    @abstractmethod
    def _restart(self, slot: int, start: Start) -> None:
        """Set the size of the step that a row attempts next, and its tolerances."""

    @abstractmethod
    def _move(self, source: int, target: int) -> None:
        """Copy a row from one slot to another."""

    @abstractmethod
    def _logits(self, slots: Slots) -> npt.NDArray[np.float32]:
        """The logits of the states in some slots, ``[rows, classes]``."""


@lru_cache(maxsize=1024)
def _start(tableau: Tableau | None, solver: SolverSettings | None) -> Start:
    """The first step size and the tolerances for a solver setting."""
    if tableau is None or solver is None:
        return Start(T1, 0.0, 0.0)
    arguments = solver.arguments
    h = arguments["first_step"]
    if h is None:
        tolerances = (np.array([arguments[name]], np.float32) for name in ("rtol", "atol"))
        h = float(T1 / equal_steps(tableau, *tolerances)[0])
    return Start(h, arguments["rtol"], arguments["atol"])
