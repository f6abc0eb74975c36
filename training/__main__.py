"""The entry point of ``python -m training``."""

import signal
import sys

from training.cli import app

signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # lets an export remove its temporary files
app(prog_name="python -m training")
