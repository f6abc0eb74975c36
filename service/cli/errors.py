"""The failures of the command, and its exit statuses."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit statuses in addition to 0 and argparse's 2. Statuses from 128 on stand for signals, as in a shell."""

    unreadable = 3
    refused = 4
    unavailable = 5
    unreachable = 6
    interrupted = 130
    broken_pipe = 141


class NoAnswerError(Exception):
    """A file got no answer.

    Args:
        status: the exit status.
        reason: the reason for the user. Several reasons are on several lines.
    """

    def __init__(self, status: Exit, reason: str) -> None:
        super().__init__(reason)
        self.status = status
