"""Rows of one method in flight: a solve that rows join and leave between two steps.

`models.solvers.solve.solve` takes a batch from its beginning to its end. A flight is the same solve opened up: rows
at different times, with step sizes and tolerances of their own, are attempted together, and none waits for another.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.solvers.attempt import STRETCH, Attempt
from models.solvers.settings import SolverSettings
from models.solvers.solve import MAX_STEPS, Outcome, equal_steps, judge
from models.solvers.tableau import Tableau

T1 = 1.0
"""The end of the interval."""


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
        self._steps, self._rejected, self._most, self._outcome, self._forced = np.zeros((5, capacity), np.int64)
        self._error, self._atol = np.zeros((2, capacity), np.float32)
        self._books = (self._steps, self._rejected, self._most, self._outcome, self._forced, self._error, self._atol)

    def join(self, images: Images, solvers: Sequence[SolverSettings | None], max_nfe: Sequence[int | None]) -> None:
        """Bring images through the stem into the next places.

        Args:
            images: uint8 ``[rows, 28, 28]``, no more than there is room for.
            solvers: of this flight's method, one for each image; None for a network without an ODE.
            max_nfe: the most evaluations of f that each may cost, or None; at least as many as one step takes.
        """
        first, self.rows = self.rows, self.rows + len(images)
        places = slice(first, self.rows)
        for book in self._books:
            book[places] = 0
        starts = [_start(self.tableau, solver) for solver in solvers]
        self._begin(images, first, starts)
        self._atol[places] = [start.atol for start in starts]
        self._most[places] = [self._attempts(most) for most in max_nfe]

    def attempt(self) -> list[int]:
        """Attempt a step for every row.

        Returns:
            The places of the rows that have ended, in their order.
        """
        n = self.rows
        if self.tableau is None:
            return list(range(n))
        self._steps[:n] += 1
        last = self._steps[:n] == self._most[:n]
        if last.any():
            self.finish(np.flatnonzero(last), Outcome.max_nfe)
        tried = self._attempt(n)
        self._rejected[:n] += ~tried.accepted
        self._error[:n] += np.where(tried.accepted, tried.error, 0)
        outcome = judge(tried, T1)
        if self._forced[:n].any():
            outcome = self._judge_forced(tried, outcome)
        self._outcome[:n] = outcome
        places: list[int] = np.flatnonzero((outcome != Outcome.max_steps) | (self._steps[:n] >= MAX_STEPS)).tolist()
        return places

    def finish(self, places: npt.NDArray[np.intp] | Sequence[int], reason: Outcome) -> None:
        """Let the next attempt of some rows go all the way to t1, whatever its error.

        Such a row ends with the reason as its outcome; or as converged, where its error turns out to be within its
        absolute tolerance, and so the step would have been accepted anyway.

        Args:
            places: of the rows.
            reason: `Outcome.max_nfe` or `Outcome.deadline`.
        """
        for place in places:
            t, h = self._time_and_step(place)
            if self._adaptive or h * STRETCH < T1 - t:
                self._forced[place] = reason
                self._restart(place, Start(h=T1, rtol=0.0, atol=np.inf))

    def leave(self, places: Sequence[int]) -> Answer:
        """Bring rows through the head, and give their places up.

        Args:
            places: of the rows, in ascending order, at least one.

        Returns:
            Their answers, in the order of the places.
        """
        index = np.asarray(places)
        steps = self._steps[index]
        tableau = self.tableau
        nfe = steps * 0 if tableau is None else tableau.evaluations_to_start + tableau.evaluations_per_step * steps
        answer = Answer(
            logits=self._logits(index),
            steps=steps,
            rejected=self._rejected[index],
            nfe=nfe,
            error_estimate=self._error[index],
            outcome=self._outcome[index],
        )
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
                for book in self._books:
                    book[place] = book[self.rows]

    def spent(self, place: int) -> int:
        """The evaluations of f that a row has cost so far."""
        if self.tableau is None:
            return 0
        return int(self.tableau.evaluations_to_start + self.tableau.evaluations_per_step * self._steps[place])

    def _attempts(self, max_nfe: int | None) -> int:
        """How many attempts a row may make."""
        if max_nfe is None or self.tableau is None:
            return MAX_STEPS + 1  # it is given up before
        return (max_nfe - self.tableau.evaluations_to_start) // self.tableau.evaluations_per_step

    def _judge_forced(self, tried: Attempt, outcome: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The outcomes, with those of the rows whose last attempt this was."""
        forced = self._forced[: self.rows]
        within = self._adaptive & (tried.error <= self._atol[: self.rows])
        ended = np.where(within, int(Outcome.converged), forced)
        return np.where(forced == 0, outcome, np.where(tried.accepted, ended, int(Outcome.non_finite)))

    @abstractmethod
    def _begin(self, images: Images, first: int, starts: list[Start]) -> None:
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
    def _logits(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
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
