"""The entry point of ``python -m training``."""

from training.cli import app
from training.signals import exit_at_sigterm

exit_at_sigterm()
app(prog_name="python -m training")
