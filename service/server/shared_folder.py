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

LOCKED = "locked"
"""The name of an empty file in the folder. A service locks its folder and then creates the file. The lock ends with the
service. A folder without the file may belong to a service that is starting and has not locked the folder yet."""

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
    """Lock a new folder for the time of the block.

    The lock also keeps systemd-tmpfiles away, which removes files from /tmp that nobody has used for some days: it
    passes over a folder that another process has locked.
    """
    with _opened(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (folder / LOCKED).touch()
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, which is closed at the end of the block. Closing it releases its lock."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of services that were killed and could not remove their folders."""
    for folder in (mark.parent for mark in parent.glob(f"{PREFIX}*/{LOCKED}")):
        try:
            with _opened(folder) as descriptor:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    continue
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        except OSError:  # the service still runs, or another start removes the folder at the same time
            continue
        logger.info("removed %s, which a service that was killed has left", folder)
