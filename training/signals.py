"""The answer of the programs of training to SIGTERM."""

import signal
import sys


def exit_at_sigterm() -> None:
    """Let SIGTERM raise SystemExit.

    So an export removes its temporary files, and a program that started fits ends them.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
