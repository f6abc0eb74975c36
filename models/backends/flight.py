"""A batch of one method whose rows may join and leave between two steps (in-flight batching).

`models.solvers.solve.solve` takes a batch from its beginning to its end. A `Flight` does the same solve one attempt at
a time. Its rows may be at different times and may have different step sizes and tolerances. Every attempt covers all
rows, and no row waits for another row to end.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.backends.trace import AttemptRecord, Reading, Trace
from models.solvers.attempt import Array, Attempt, is_last
from models.solvers.namespace import array_namespace
from models.solvers.settings import SolveArguments
from models.solvers.solve import MAX_STEPS, Outcome, judge
from models.solvers.tableau import Tableau

T1 = 1.0
"""The end of the interval."""

FORCED = SolveArguments(first_step=T1, rtol=0.0, atol=np.inf)
"""The arguments with which a step goes all the way to t1 and is accepted."""


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
        # Attempts are counted for the whole flight, so that an attempt need not count them for each row.
        self._attempts = 0
        self._earliest_limit = 0
        self._counts = np.zeros((5, capacity), np.int64)
        self._joined_at, self._rejected, self._outcome, self._limit, self._forced = self._counts
        self._error, self._atol = self._sizes = np.zeros((2, capacity), np.float32)
        self._any_forced = False
        self._traces: dict[int, Trace] = {}
        self._kept: Array | None = None

    @property
    def traced(self) -> bool:
        """Whether at least one row is traced."""
        return bool(self._traces)

    def join(
        self,
        images: Images | Sequence[Images],
        arguments: Sequence[SolveArguments],
        max_nfe: Sequence[int | None],
        traces: Iterable[Trace | None] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Run the stem on images and add them as new rows in the next free slots.

        Args:
            images: uint8 ``[28, 28]`` each; at most as many as there are free slots.
            arguments: the arguments of each solve. A network without an ODE ignores them.
            max_nfe: for each image the greatest number of evaluations of f, or None for no limit. A limit must allow
                at least one step.
            traces: for each image the trace that records its solve, or None; always None for a network without an ODE.
            keep: whether to keep the states at t = 0 for `starts`.
        """
        self._begin(images, self.rows, arguments)
        self._add(arguments, max_nfe, traces, keep=keep)

    def resume(
        self,
        starts: Sequence[Array],
        arguments: Sequence[SolveArguments],
        max_nfe: Sequence[int | None],
        traces: Iterable[Trace | None] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Add rows whose states at t = 0 are known, so that the stem need not run.

        Args:
            starts: the states, from `starts` of a flight of the same backend.
            arguments: as for `join`.
            max_nfe: as for `join`.
            traces: as for `join`.
            keep: as for `join`.
        """
        self._restore(starts, self.rows, arguments)
        self._add(arguments, max_nfe, traces, keep=keep)

    def starts(self, slots: Sequence[int]) -> list[Array]:
        """Copies of the states at t = 0 of some rows, which joined with `keep`."""
        if self._kept is None:
            raise ValueError("no row joined with keep")
        return list(self._kept[list(slots)])

    def _add(
        self,
        arguments: Sequence[SolveArguments],
        max_nfe: Sequence[int | None],
        traces: Iterable[Trace | None],
        *,
        keep: bool,
    ) -> None:
        """Count new rows, whose states are in the next free slots."""
        first, self.rows = self.rows, self.rows + len(arguments)
        limits = [self._attempts + self._affordable_steps(limit) for limit in max_nfe]
        slots = slice(first, self.rows)
        self._counts[:, slots] = 0
        self._joined_at[slots] = self._attempts
        self._limit[slots] = limits
        self._earliest_limit = min(limits) if first == 0 else min(self._earliest_limit, *limits)
        self._error[slots] = 0
        self._atol[slots] = [each.atol for each in arguments]
        if keep:
            z = self._states
            self._kept = array_namespace(z).zeros_like(z) if self._kept is None else self._kept
            self._kept[slots] = z[slots]
        if traced := {slot: trace for slot, trace in enumerate(traces, first) if trace is not None}:
            self._traces |= traced
            self._record_readings(list(traced), [0.0] * len(traced))

    def attempt(self) -> list[int]:
        """Attempt a step for every row.

        Returns:
            The slots of the rows that have ended, in ascending order.
        """
        n = self.rows
        if self.tableau is None:
            return list(range(n))
        self._attempts += 1
        at_limit = self._rows_at_limit() if self._attempts >= self._earliest_limit else None
        before = [(slot, *self._time_and_step(slot)) for slot in self._traces]
        tried = self._attempt(n)
        if not self._any_forced and np.count_nonzero(tried.accepted) == n:  # the most frequent case
            self._error[:n] += tried.error
            ended = tried.t >= T1
        else:
            ended = self._judge(tried)
        if at_limit is not None:
            self._outcome[:n][at_limit & ~ended] = Outcome.max_steps
            ended |= at_limit
        if before:
            self._record_attempts(before, tried, ended)
        if not (count := np.count_nonzero(ended)):
            return []
        slots: list[int] = list(range(n)) if count == n else np.flatnonzero(ended).tolist()
        return slots

    def finish(self, slots: Sequence[int], reason: Outcome) -> None:
        """Make the next attempt of some rows go all the way to t1, even if its error is too large.

        Such a row ends with the reason as its outcome. But if the error of its last step is within its absolute
        tolerance, the row ends as converged, because this step would have been accepted anyway.

        Args:
            slots: the slots of the rows.
            reason: `Outcome.max_nfe` or `Outcome.deadline`.
        """
        for slot in slots:
            t, h = self._time_and_step(slot)
            if self._adaptive or not is_last(t, h, T1):
                self._forced[slot] = reason
                self._any_forced = True
                self._restart(slot, FORCED)

    def leave(self, slots: Sequence[int]) -> Answer:
        """Run the head on some rows and remove these rows. The arguments and the result are those of `answer`."""
        answer = self.answer(slots)
        self.drop(slots)
        return answer

    def answer(self, slots: Sequence[int]) -> Answer:
        """Run the head on some rows.

        Args:
            slots: the slots of the rows, in ascending order, at least one. Their solves have ended.

        Returns:
            The answers, in the order of the slots.
        """
        index = slice(self.rows) if len(slots) == self.rows else np.asarray(slots)
        joined_at, rejected, outcome = self._counts[:3, index].copy()
        steps = self._attempts - joined_at
        nfe = steps if self.tableau is None else self.tableau.evaluations(steps)
        answer = Answer(self._logits(slots), steps, rejected, nfe, self._error[index].copy(), outcome)
        if self._traces:
            self._record_ends(slots, answer)
        return answer

    def drop(self, slots: Sequence[int]) -> None:
        """Remove rows without an answer, from the greatest slot to the least. The last row fills each freed slot.

        Args:
            slots: the slots of the rows, in ascending order.
        """
        before = list(range(self.rows))  # for each slot, the slot from which its row comes
        for slot in reversed(slots):
            last = before.pop()
            if slot < len(before):
                before[slot] = last
        self.rows = len(before)
        if targets := [slot for slot in slots if slot < self.rows]:
            sources = [before[slot] for slot in targets]
            self._counts[:, targets] = self._counts[:, sources]
            self._sizes[:, targets] = self._sizes[:, sources]
            self._move(sources, targets)
        if self._traces:
            traces = ((slot, self._traces.get(source)) for slot, source in enumerate(before))
            self._traces = {slot: trace for slot, trace in traces if trace is not None}

    def _affordable_steps(self, max_nfe: int | None) -> int:
        """The number of steps that a limit of evaluations allows, at most `MAX_STEPS`."""
        if max_nfe is None or self.tableau is None:
            return MAX_STEPS
        affordable = (max_nfe - self.tableau.evaluations_to_start) // self.tableau.evaluations_per_step
        return min(affordable, MAX_STEPS)

    def _rows_at_limit(self) -> npt.NDArray[np.bool_]:
        """Which rows make their last attempt, ``[rows]``. Where `max_nfe` sets the limit, the attempt goes to t1."""
        limit = self._limit[: self.rows]
        at_limit: npt.NDArray[np.bool_] = limit == self._attempts
        by_max_nfe = at_limit & (limit - self._joined_at[: self.rows] < MAX_STEPS)
        self.finish(np.flatnonzero(by_max_nfe).tolist(), Outcome.max_nfe)
        self._earliest_limit = int(limit[~at_limit].min(initial=self._attempts + MAX_STEPS))
        return at_limit

    def _judge(self, tried: Attempt) -> npt.NDArray[np.bool_]:
        """Store the result of an attempt for every row; return which rows have ended, ``[rows]``."""
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
        ended: npt.NDArray[np.bool_] = outcome != int(Outcome.max_steps)
        self._outcome[:n] = np.where(ended, outcome, int(Outcome.converged))
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

    def _record_readings(self, slots: list[int], times: list[float]) -> None:
        """Record in the traces readings of the current states in some slots, with their times."""
        for slot, t, logits in zip(slots, times, self._logits(slots), strict=True):
            self._traces[slot].depth.append(Reading(t, logits, self._channels(slot)))

    def _record_ends(self, slots: Sequence[int], answer: Answer) -> None:
        """Record in the traces the final readings of the rows in some slots."""
        for row, slot in enumerate(slots):
            if (trace := self._traces.get(slot)) and trace.attempts[-1].accepted:
                t, _ = self._time_and_step(slot)
                trace.depth.append(Reading(t, answer.logits[row], self._channels(slot)))

    def _channels(self, slot: int) -> npt.NDArray[np.float32]:
        """The mean of each channel of the state in a slot, ``[channels]``."""
        state = self._states[slot]
        means = array_namespace(state).mean(state, axis=(1, 2))
        return np.asarray(means.tolist(), np.float32)

    @property
    @abstractmethod
    def _states(self) -> Array:
        """The states of all slots, ``[capacity, *state_shape]``."""

    @abstractmethod
    def _begin(self, images: Images | Sequence[Images], first: int, arguments: Sequence[SolveArguments]) -> None:
        """Fill the slots from the first on: with the stem's states, their times and, for an FSAL method, f there."""

    @abstractmethod
    def _restore(self, starts: Sequence[Array], first: int, arguments: Sequence[SolveArguments]) -> None:
        """Fill the slots from the first on as `_begin` does, but with known states."""

    @abstractmethod
    def _attempt(self, rows: int) -> Attempt:
        """Attempt a step for the first rows and update their states.

        Returns:
            The times, step sizes, errors and acceptances as NumPy arrays, valid until the next attempt but one; the
            states stay where they are.
        """

    @abstractmethod
    def _time_and_step(self, slot: int) -> tuple[float, float]:
        """The time of a row, and the size of the step that it attempts next."""

    @abstractmethod
    def _restart(self, slot: int, arguments: SolveArguments) -> None:
        """Set the size of the step that a row attempts next, and its tolerances."""

    @abstractmethod
    def _move(self, sources: list[int], targets: list[int]) -> None:
        """Copy rows, with their kept states, from some slots to others. No slot is both a source and a target."""

    @abstractmethod
    def _logits(self, slots: Sequence[int]) -> npt.NDArray[np.float32]:
        """The logits of the states in some slots, in ascending order, ``[rows, classes]``."""
