"""Why there is no answer, and how the command ends then."""

from enum import IntEnum


class Exit(IntEnum):
    """The status to end with, where it is neither 0 nor argparse's 2; from 128 on as a shell tells of signals."""

    unreadable = 3
    refused = 4
    unavailable = 5
    unreachable = 6
    interrupted = 130
    unread = 141


class NoAnswerError(Exception):
    """There is no answer.

    Args:
        status: to end with.
        reason: for the user; in several lines, where there are several reasons.
    """

    def __init__(self, status: Exit, reason: str) -> None:
        super().__init__(reason)
        self.status = status
