"""The folder that the worker processes of one service share: desired models, metrics and request rates."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

VARIABLE = "_ODENET_SHARED"
"""The environment variable through which a worker process finds the folder."""

PREFIX = "odenet-"
"""The names of these folders begin with this text."""

LOCK = "lock"
"""A file in the folder. The service that uses the folder locks the file, and its end releases the lock."""

logger = logging.getLogger(__name__)


@contextmanager
def sharing() -> Iterator[Path]:
    """Make a folder for the worker processes that start inside the block; they find it through their environment."""
    _remove_abandoned(Path(gettempdir()))
    with TemporaryDirectory(prefix=PREFIX) as folder, _locked(Path(folder)):
        os.environ[VARIABLE] = folder
        yield Path(folder)


def shared_folder() -> Path | None:
    """The folder of this worker process; None for a process that serves alone."""
    folder = os.environ.get(VARIABLE)
    return None if folder is None else Path(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a new folder for the time of the block. A rename makes the file appear, so that it is always locked."""
    partial = folder / f".{LOCK}"
    with partial.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        partial.rename(folder / LOCK)
        yield


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of services that were killed and could not remove their folders."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            if lock.lstat().st_uid != os.geteuid():
                continue
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
        except OSError:  # the service still runs, or another start removes the folder at the same time
            continue
        logger.info("removed %s, which a service that was killed has left", lock.parent)
