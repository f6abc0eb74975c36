"""A clock for programs that measure processor time."""

from dataclasses import dataclass


@dataclass
class Clock:
    """A clock that only a test advances. It takes the place of the module `time`.

    Attributes:
        seconds: the time that has passed.
    """

    seconds: float = 0.0

    def process_time(self) -> float:
        """The time that has passed, in seconds."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let some seconds pass."""
        self.seconds += seconds
