"""``python -m training``."""

import signal
import sys

from training.cli import app

signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that an export clears up behind it
app(prog_name="python -m training")
