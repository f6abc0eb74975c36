"""The folder by which the processes of one service know of each other's models and metrics."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

VARIABLE = "_ODENET_SHARED"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""By which prometheus_client knows where each process is to keep its numbers; read when it is imported."""


@contextmanager
def sharing() -> Iterator[Path]:
    """A folder for the child processes that are started meanwhile, which find it in their environment."""
    with TemporaryDirectory(prefix="odenet-") as folder:
        metrics = Path(folder, "metrics")
        metrics.mkdir()
        os.environ |= {VARIABLE: folder, METRICS_VARIABLE: str(metrics)}
        yield Path(folder)


def shared_folder() -> Path | None:
    """The folder; None for a process that serves alone."""
    folder = os.environ.get(VARIABLE)
    return None if folder is None else Path(folder)
