"""The folder that the worker processes of one service share: desired models, metrics and request rates."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

VARIABLE = "_ODENET_SHARED"
"""The environment variable through which a worker process finds the folder."""


@contextmanager
def sharing() -> Iterator[Path]:
    """Make a folder for the worker processes that start inside the block; they find it through their environment."""
    with TemporaryDirectory(prefix="odenet-") as folder:
        os.environ[VARIABLE] = folder
        yield Path(folder)


def shared_folder() -> Path | None:
    """The folder of this worker process; None for a process that serves alone."""
    folder = os.environ.get(VARIABLE)
    return None if folder is None else Path(folder)
