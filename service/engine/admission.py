"""How many images may wait, and for how long the next would."""

import math
from threading import Lock

from service.engine.request import Priority
from service.errors import FieldError, OverloadedError


class Admission:
    """Counts the images that wait. Safe to use from several threads.

    A request is admitted if the images that would be begun before its own, and these, are no more than the queue
    holds; so what waits at a lower priority keeps nobody out.

    Args:
        rows: that the queue holds.
        threads: that work it off.

    Attributes:
        rows: that the queue holds.
        seconds_per_row: in which an image leaves the queue, at present; `learn` keeps it up to date.
        refused: requests that found no room.
    """

    def __init__(self, rows: int, threads: int = 1) -> None:
        self.rows = rows
        self._threads = threads
        self.seconds_per_row = 0.0
        self.refused = 0
        self._waiting = [0] * len(Priority)
        self._lock = Lock()

    def learn(self, seconds_per_row: float) -> None:
        """Note what an image takes of a thread, at present."""
        self.seconds_per_row = seconds_per_row / self._threads

    def waiting(self, priority: Priority = Priority.low) -> int:
        """The images that wait at a priority or above."""
        return sum(self._waiting[: priority + 1])

    def fullness(self, priority: Priority) -> float:
        """The part of the queue that is taken for a priority, 0..1."""
        return self.waiting(priority) / self.rows

    def has_room(self, rows: int, priority: Priority) -> bool:
        """Whether images would be let in."""
        return self.waiting(priority) + rows <= self.rows

    def enter(self, rows: int, priority: Priority) -> None:
        """Let images into the queue.

        Raises:
            OverloadedError: there is no room for all of them.
        """
        with self._lock:
            if self.has_room(rows, priority):
                self._waiting[priority] += rows
                return
        raise self.refusal(self.refuse(priority))

    def check(self, rows: int, priority: Priority) -> None:
        """See whether images would be let in, before anything is done for them.

        Raises:
            OverloadedError: there is no room.
        """
        if not self.has_room(rows, priority):
            raise self.refusal(self.refuse(priority))

    def leave(self, rows: int, priority: Priority) -> None:
        """Note that images have left the queue."""
        with self._lock:
            self._waiting[priority] -= rows

    def refuse(self, priority: Priority) -> int:
        """Note that a request found no room; the whole seconds after which what waits now will have been begun."""
        self.refused += 1
        return max(1, math.ceil(self.waiting(priority) * self.seconds_per_row))

    def refusal(self, retry_after: int) -> OverloadedError:
        """What a request that found no room is told."""
        message = f"{self.rows:,} images may wait, and there is no room for more; ask again after {retry_after} s"
        return OverloadedError(FieldError("queue", message), retry_after=retry_after)
