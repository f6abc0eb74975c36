"""A flight that knows which digit is in which slot."""

from collections.abc import Sequence

from models.backends.answer import Answer
from models.backends.protocol import Backend
from models.solvers.settings import SolveArguments, SolverSettings
from models.solvers.solve import Outcome
from tests.digits import load_test_set

DIGITS = load_test_set()[0]
CAPACITY = 6


def row_of(answer: Answer, row: int) -> Answer:
    return Answer._make(column[row : row + 1] for column in answer)


class TrackedFlight:
    """A flight together with the identifier of the row in each slot, and the answers so far."""

    def __init__(self, backend: Backend, method: str | None, capacity: int = CAPACITY) -> None:
        self.flight = backend.flight(method, capacity)
        self.id_of_slot: list[int] = []
        self.answers: dict[int, Answer] = {}

    def join(
        self,
        ids: Sequence[int],
        digits: Sequence[int],
        solvers: Sequence[SolverSettings | None],
        max_nfe: Sequence[int | None] | None = None,
    ) -> None:
        arguments = [SolveArguments(1.0, 0.0, 0.0) if solver is None else solver.arguments for solver in solvers]
        self.flight.join(DIGITS[list(digits)], arguments, max_nfe or [None] * len(digits))
        self.id_of_slot += ids

    def attempt(self) -> None:
        """Attempt a step and collect the answers of the rows that have ended."""
        if not self.id_of_slot:
            return
        slots = self.flight.attempt()
        assert slots == sorted(set(slots))
        if slots:
            answer = self.flight.leave(slots)
            self.answers |= {self.id_of_slot[slot]: row_of(answer, row) for row, slot in enumerate(slots)}
            self._free(slots)

    def drop(self, slots: list[int]) -> None:
        self.flight.drop(slots)
        self._free(slots)

    def finish(self, slots: list[int], reason: Outcome) -> None:
        self.flight.finish(slots, reason)

    def _free(self, slots: list[int]) -> None:
        for slot in reversed(slots):
            self.id_of_slot[slot] = self.id_of_slot[-1]
            self.id_of_slot.pop()
        assert self.flight.rows == len(self.id_of_slot)

    def run_to_end(self) -> dict[int, Answer]:
        """Attempt steps until every row has ended, and return all answers by identifier."""
        while self.id_of_slot:
            self.attempt()
        return self.answers
