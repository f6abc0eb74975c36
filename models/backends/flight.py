"""Rows of one method in flight: a solve that rows join and leave between two steps.

`models.solvers.solve.solve` takes a batch from its beginning to its end. A flight is the same solve opened up: rows
at different times, with step sizes and tolerances of their own, are attempted together, and none waits for another.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.backends.trace import Attempted, Told, Trace
from models.solvers.attempt import Attempt, is_last
from models.solvers.settings import SolverSettings
from models.solvers.solve import MAX_STEPS, Outcome, equal_steps, judge
from models.solvers.tableau import Tableau

T1 = 1.0
"""The end of the interval."""

Places = npt.NDArray[np.intp] | slice
"""Of some rows."""


class Start(NamedTuple):
    """What a row begins with: its first step and its tolerances."""

    h: float
    rtol: float
    atol: float


class Flight(ABC):
    """Fixed-capacity arrays whose first places are taken. Not safe to call from several threads.

    Args:
        tableau: the method; None for a network without an ODE, whose rows end at their first attempt.
        capacity: the most rows.

    Attributes:
        rows: the places that are taken, counted from the first.
        capacity: the most rows.
    """

    def __init__(self, tableau: Tableau | None, capacity: int) -> None:
        self.tableau = tableau
        self.capacity = capacity
        self.rows = 0
        self._adaptive = tableau is not None and tableau.adaptive
        self._counts = np.zeros((5, capacity), np.int64)
        self._steps, self._rejected, self._outcome, self._forced, self._most = self._counts
        self._error, self._atol = self._sizes = np.zeros((2, capacity), np.float32)
        self._any_forced = False
        self._traces: dict[int, Trace] = {}

    @property
    def traced(self) -> bool:
        """Whether any row is."""
        return bool(self._traces)

    def join(
        self,
        images: Images | Sequence[Images],
        solvers: Sequence[SolverSettings | None],
        max_nfe: Sequence[int | None],
        traces: Iterable[Trace | None] = (),
    ) -> None:
        """Bring images through the stem into the next places.

        Args:
            images: uint8 ``[28, 28]`` each, no more than there is room for.
            solvers: of this flight's method, one for each image; None for a network without an ODE.
            max_nfe: the most evaluations of f that each may cost, or None; at least as many as one step takes.
            traces: told what becomes of each, or None; a network without an ODE has nothing to tell.
        """
        first, self.rows = self.rows, self.rows + len(images)
        starts = [_start(self.tableau, solver) for solver in solvers]
        self._begin(images, first, starts)
        self._counts[:, first : self.rows] = 0
        self._error[first : self.rows] = 0
        for place, (start, most) in enumerate(zip(starts, max_nfe, strict=True), first):
            self._atol[place] = start.atol
            self._most[place] = self._attempts(most)
        if traced := {place: trace for place, trace in enumerate(traces, first) if trace is not None}:
            self._traces |= traced
            self._tell(traced, [0.0] * len(traced))

    def attempt(self) -> list[int]:
        """Attempt a step for every row.

        Returns:
            The places of the rows that have ended, in their order.
        """
        n = self.rows
        if self.tableau is None:
            return list(range(n))
        self._steps[:n] += 1
        spent = self._steps[:n] == self._most[:n]
        if any_spent := spent.any():
            self.finish(np.flatnonzero(spent & (self._most[:n] < MAX_STEPS)).tolist(), Outcome.max_nfe)
        before = [(place, *self._time_and_step(place)) for place in self._traces]
        tried = self._attempt(n)
        if tried.accepted.all() and not self._any_forced:  # as `judge` has it, and most often: so in few operations
            self._error[:n] += tried.error
            self._outcome[:n] = Outcome.converged  # or will have
            ended = tried.t >= T1
        else:
            ended = self._judge(tried)
        if any_spent:
            self._outcome[:n][spent & ~ended] = Outcome.max_steps
            ended |= spent
        if before:
            self._note(before, tried, ended)
        places: list[int] = np.flatnonzero(ended).tolist()
        return places

    def finish(self, places: Sequence[int], reason: Outcome) -> None:
        """Let the next attempt of some rows go all the way to t1, whatever its error.

        Such a row ends with the reason as its outcome; or as converged, where its error turns out to be within its
        absolute tolerance, and so the step would have been accepted anyway.

        Args:
            places: of the rows.
            reason: `Outcome.max_nfe` or `Outcome.deadline`.
        """
        for place in places:
            t, h = self._time_and_step(place)
            if self._adaptive or not is_last(t, h, T1):
                self._forced[place] = reason
                self._any_forced = True
                self._restart(place, Start(h=T1, rtol=0.0, atol=np.inf))

    def leave(self, places: Sequence[int]) -> Answer:
        """Bring rows through the head, and give their places up.

        Args:
            places: of the rows, in ascending order, at least one.

        Returns:
            Their answers, in the order of the places.
        """
        index = slice(self.rows) if len(places) == self.rows else np.asarray(places)
        steps, rejected, outcome, *_ = self._counts[:, index].copy()
        nfe = steps if self.tableau is None else self.tableau.evaluations(steps)
        answer = Answer(self._logits(index), steps, rejected, nfe, self._error[index].copy(), outcome)
        if self._traces:
            self._conclude(places, answer)
        self.drop(places)
        return answer

    def drop(self, places: Sequence[int]) -> None:
        """Give places up; from the greatest to the least, the last row moves into the hole.

        Args:
            places: of the rows, in ascending order.
        """
        for place in reversed(places):
            self.rows -= 1
            if place != self.rows:
                self._move(self.rows, place)
                self._counts[:, place] = self._counts[:, self.rows]
                self._sizes[:, place] = self._sizes[:, self.rows]
            if self._traces:
                self._traces.pop(place, None)
                if self.rows in self._traces:
                    self._traces[place] = self._traces.pop(self.rows)

    def _attempts(self, max_nfe: int | None) -> int:
        """How many attempts a row may make."""
        if max_nfe is None or self.tableau is None:
            return MAX_STEPS
        affordable = (max_nfe - self.tableau.evaluations_to_start) // self.tableau.evaluations_per_step
        return min(affordable, MAX_STEPS)

    def _judge(self, tried: Attempt) -> npt.NDArray[np.bool_]:
        """Note how the rows have fared; which of them have ended."""
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

    def _note(self, before: list[tuple[int, float, float]], tried: Attempt, ended: npt.NDArray[np.bool_]) -> None:
        """Note in their traces how an attempt went: of some places, with their times and steps before it."""
        going_on = []
        for place, t, h in before:
            start, step = np.float32(t), np.float32(h)
            size = T1 - t if is_last(start, step, T1) else h
            accepted = bool(tried.accepted[place])
            self._traces[place].attempts.append(Attempted(t, size, float(tried.error[place]), accepted))
            if accepted and not ended[place]:
                going_on.append(place)
        if going_on:
            self._tell(going_on, tried.t[going_on].tolist())

    def _tell(self, places: Iterable[int], times: list[float]) -> None:
        """Note in their traces what the head makes of the states at some places, at their times."""
        index = np.fromiter(places, np.intp)
        for place, t, logits in zip(index.tolist(), times, self._logits(index), strict=True):
            self._traces[place].depth.append(Told(t, logits))

    def _conclude(self, places: Sequence[int], answer: Answer) -> None:
        """Note in their traces how rows have ended that leave from some places."""
        for row, place in enumerate(places):
            if (trace := self._traces.get(place)) and trace.attempts[-1].accepted:
                t, _ = self._time_and_step(place)
                trace.depth.append(Told(t, answer.logits[row]))

    @abstractmethod
    def _begin(self, images: Images | Sequence[Images], first: int, starts: list[Start]) -> None:
        """Fill the places from the first: the stem's states, their times, and f there if the method is FSAL."""

    @abstractmethod
    def _attempt(self, rows: int) -> Attempt:
        """Attempt a step for the first rows, whose states are then those after it.

        Returns:
            Times, steps, errors and acceptances in NumPy arrays; the states stay where they are.
        """

    @abstractmethod
    def _time_and_step(self, place: int) -> tuple[float, float]:
        """The time of a row, and the step that it is to attempt."""

    @abstractmethod
    def _restart(self, place: int, start: Start) -> None:
        """Set the step that a row is to attempt, and its tolerances."""

    @abstractmethod
    def _move(self, source: int, target: int) -> None:
        """Copy a row from a place to another."""

    @abstractmethod
    def _logits(self, places: Places) -> npt.NDArray[np.float32]:
        """The logits of the states at some places."""


@lru_cache(maxsize=1024)
def _start(tableau: Tableau | None, solver: SolverSettings | None) -> Start:
    """How a row begins, by its settings."""
    if tableau is None or solver is None:
        return Start(T1, 0.0, 0.0)
    told = solver.arguments
    h = told["first_step"]
    if h is None:
        tolerances = (np.array([told[name]], np.float32) for name in ("rtol", "atol"))
        h = float(T1 / equal_steps(tableau, *tolerances)[0])
    return Start(h, told["rtol"], told["atol"])
