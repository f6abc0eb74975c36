"""The failures of the commands, and their exit statuses."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def ending_with_the_reader() -> Iterator[None]:
    """End the command, as other programs do, once the reader of its output has closed it: `config | head`, for example.

    Raises:
        SystemExit: the reader has closed the output.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at the exit does not fail
        sys.exit(Exit.broken_pipe)
