"""Admission to the queue: how many images may wait, and how long the queue takes."""

import math
from threading import Lock

from service.engine.request import Priority
from service.errors import FieldError, OverloadedError


class Admission:
    """Counts the images in the queue. Safe to use from several threads.

    A request is admitted if its images and all images that start before them fit the queue. So images of a lower
    priority keep no request out.

    Args:
        rows: the greatest number of images in the queue.
        threads: the threads that work off the queue.

    Attributes:
        rows: the greatest number of images in the queue.
        seconds_per_row: estimated seconds until one more image leaves the queue; `update_estimate` keeps it current.
    """

    def __init__(self, rows: int, threads: int = 1) -> None:
        self.rows = rows
        self.seconds_per_row = 0.0
        self._threads = threads
        self._waiting = [0] * len(Priority)
        self._lock = Lock()

    def update_estimate(self, thread_seconds: float) -> None:
        """Set the estimated time per image, given the seconds that a thread spends on an image."""
        self.seconds_per_row = thread_seconds / self._threads

    def waiting(self, priority: Priority = Priority.low) -> int:
        """The number of images in the queue at a priority or above."""
        return sum(self._waiting[: priority + 1])

    def fullness(self, priority: Priority) -> float:
        """The share of the queue that is taken for a priority, 0..1."""
        return self.waiting(priority) / self.rows

    def has_room(self, rows: int, priority: Priority) -> bool:
        """Whether a number of images would be admitted."""
        return self.waiting(priority) + rows <= self.rows

    def check(self, rows: int, priority: Priority) -> None:
        """Check that a number of images would be admitted.

        Raises:
            OverloadedError: the queue has no room for all of them.
        """
        if not self.has_room(rows, priority):
            raise self._refusal(priority)

    def enter(self, rows: int, priority: Priority) -> None:
        """Admit a number of images to the queue.

        Raises:
            OverloadedError: the queue has no room for all of them.
        """
        with self._lock:
            if not self.has_room(rows, priority):
                raise self._refusal(priority)
            self._waiting[priority] += rows

    def leave(self, rows: int, priority: Priority) -> None:
        """Record that a number of images have left the queue."""
        with self._lock:
            self._waiting[priority] -= rows

    def _refusal(self, priority: Priority) -> OverloadedError:
        """The error for a request that finds no room. The error tells after how many whole seconds to retry."""
        seconds = max(1, math.ceil(self.waiting(priority) * self.seconds_per_row))
        message = f"the limit is {self.rows:,} images, and the queue has no room for more; retry after {seconds} s"
        return OverloadedError(FieldError("queue", message), retry_after=seconds)
