"""Admission to the queue: how long the work in the queue delays a request, and who may add more work."""

import math
from collections import defaultdict
from threading import Lock

from service.engine.request import NANOSECONDS, Demand, Priority
from service.errors import FieldError, OverloadedError


class Admission:
    """Adds up the expected work in the queue, and admits the requests that it does not delay for long. Thread-safe.

    A request is admitted if other work is expected to delay its answer by at most a limit. The other work is all work
    of higher priorities, and a share of the work of its own priority: see `Backlog.ahead`. So neither work of a lower
    priority, nor a caller who fills the queue, nor costly requests keep a cheap request out.

    Args:
        seconds: the limit: the longest delay.
        threads: the threads that work off the queue.

    Attributes:
        seconds: the limit.
        rows: the number of images in the queue.
        pace: the seconds that pass while a thread does one second of the expected work; the scheduler measures it.
    """

    def __init__(self, seconds: float, threads: int = 1) -> None:
        self.seconds = seconds
        self.rows = 0
        self.pace = 1.0
        self._threads = threads
        self._backlogs = tuple(Backlog() for _ in Priority)
        self._lock = Lock()

    @property
    def queued_seconds(self) -> float:
        """Estimated seconds until all images that are in the queue now have started."""
        return self._seconds(sum(backlog.work for backlog in self._backlogs))

    def wait(self, demand: Demand) -> float:
        """Estimated seconds by which other work delays the answer to a request that enters the queue now."""
        with self._lock:
            return self._wait(demand)

    def fullness(self, demand: Demand) -> float:
        """The estimated delay of a request as a share of the limit; above 1 for a request that would be refused."""
        return self.wait(demand) / self.seconds

    def check(self, demand: Demand) -> None:
        """Check that a request would be admitted.

        Raises:
            OverloadedError: other work would delay the answer by more than the limit.
        """
        with self._lock:
            self._check(demand)

    def is_alone(self, demand: Demand) -> bool:
        """Whether no other request of the same or a higher priority waits for its first image to start."""
        return sum(backlog.waiting for backlog in self._backlogs[: demand.priority + 1]) == 1

    def refusal(self, demand: Demand) -> OverloadedError:
        """The error for a request that other work has delayed for too long. It says after how many seconds to retry."""
        return self._refusal(self.wait(demand) - self.seconds)

    def enter(self, demand: Demand) -> None:
        """Admit a request with all of its images.

        Raises:
            OverloadedError: other work would delay the answer by more than the limit.
        """
        with self._lock:
            self._check(demand)
            self.rows += demand.rows
            self._backlogs[demand.priority].add(demand, demand.rows)
            self._backlogs[demand.priority].waiting += 1

    def leave(self, demand: Demand, rows: int, *, first: bool) -> None:
        """Record that a number of images of a request leave the queue, and whether the first one is among them."""
        with self._lock:
            self.rows -= rows
            self._backlogs[demand.priority].add(demand, -rows)
            self._backlogs[demand.priority].waiting -= first

    def _wait(self, demand: Demand) -> float:
        higher = sum(backlog.work for backlog in self._backlogs[: demand.priority])
        return self._seconds(higher + self._backlogs[demand.priority].ahead(demand))

    def _check(self, demand: Demand) -> None:
        """Raise the error for a request that other work would delay for too long."""
        if (excess := self._wait(demand) - self.seconds) > 0:
            raise self._refusal(excess)

    def _refusal(self, excess: float) -> OverloadedError:
        """The error for a request whose delay exceeds the limit by some seconds. It names at least one whole second."""
        seconds = max(1, math.ceil(excess))
        message = f"other work may delay a request by {self.seconds:g} s; retry after {seconds} s"
        return OverloadedError(FieldError("queue", message), retry_after=seconds)

    def _seconds(self, work: int) -> float:
        return self.pace * work / NANOSECONDS / self._threads


class Backlog:
    """The work of one priority in the queue: by caller, and by the size of the request.

    Callers take turns, and so do the requests of one caller that differ in size (`service.engine.queue`).

    Attributes:
        work: the expected nanoseconds of all images.
        waiting: the number of requests without a started image.
    """

    def __init__(self) -> None:
        self.work = self.waiting = 0
        self._callers: defaultdict[str, dict[int, int]] = defaultdict(dict)

    def add(self, demand: Demand, rows: int) -> None:
        """Add a number of images of a request. A negative number takes images away."""
        work = rows * demand.image_work
        sizes = self._callers[demand.caller]
        sizes[demand.size] = sizes.get(demand.size, 0) + work
        self.work += work
        if not sizes[demand.size]:
            del sizes[demand.size]
            if not sizes:
                del self._callers[demand.caller]

    def ahead(self, demand: Demand) -> int:
        """The expected nanoseconds of work of this priority that is done before a request that enters the queue now.

        The earlier work of the same caller and size comes first. Until the request is answered, any other size of its
        caller gets at most as much time as its own size, and any other caller at most as much as its own caller.
        """
        sizes = self._callers.get(demand.caller, {})
        ahead = sizes.get(demand.size, 0)
        turns = ahead + demand.work
        ahead += sum(min(other, turns) for size, other in sizes.items() if size != demand.size)
        turns = ahead + demand.work
        callers = (sum(each.values()) for caller, each in self._callers.items() if caller != demand.caller)
        return ahead + sum(min(other, turns) for other in callers)
