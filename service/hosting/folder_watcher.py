"""The folder watcher: looks at the models folder regularly for versions that have appeared or disappeared."""

import asyncio
import fcntl
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from models.artifact import ArtifactError
from service.hosting.layout import version_folders
from service.hosting.manager import ModelManager
from service.settings import Settings

FOLLOW_SECONDS = 0.25
"""Longest time until a process makes a change that another process has made."""

Version = tuple[str, str]
"""The name of a model, and one of its versions."""

Signature = tuple[tuple[str, int, int, int], ...]
"""For each file of a folder: name, size, modification time and inode. The signature differs after any change."""

logger = logging.getLogger(__name__)


class FolderWatcher:
    """Keeps the greatest version of each model served that is in the folder and can be loaded.

    A version is tried once two looks have found the same signature, so that a version that is still being copied is
    left alone. A version that was refused is tried again once its signature has changed.

    A served version is not looked at again. When it is removed from the folder, it is served from memory, unless the
    folder has an earlier version: this version takes over, as it would at the next start.

    Args:
        manager: loads and swaps the models.
        folder: the models folder.
        seconds: time between two looks.
        lock: a file that is locked by the process that looks for all processes; None for a process that serves alone.
    """

    def __init__(self, manager: ModelManager, folder: Path, seconds: float, lock: Path | None = None) -> None:
        self._manager = manager
        self._folder = folder
        self._seconds = seconds
        self._lock = lock
        self._locked: IO[str] | None = None
        self._seen: dict[Version, Signature] = {}
        self._refused: dict[Version, Signature] = {}
        self._logged_error = ""

    async def run(self) -> None:
        """Look again and again until the task is cancelled."""
        due = time.monotonic() + self._seconds
        try:
            while True:
                await asyncio.sleep(min(FOLLOW_SECONDS, self._seconds))
                if time.monotonic() < due:
                    await self._safely(self._manager.synchronise())
                else:
                    due = time.monotonic() + self._seconds
                    await self._safely(self._retry_and_look())
        finally:
            if self._locked is not None:
                self._locked.close()

    async def _retry_and_look(self) -> None:
        """Try again what has failed, and look at the folder if no other process does."""
        await self._manager.synchronise(retry=True)
        if self._looks_for_all():
            await self.look()
        self._logged_error = ""

    async def _safely(self, work: Coroutine[None, None, None]) -> None:
        """Await work. An error is logged once, and the next look tries again."""
        try:
            await work
        except Exception as error:
            if str(error) != self._logged_error:
                logger.exception("the models folder %s cannot be looked at", self._folder)
            self._logged_error = str(error)

    async def look(self) -> None:
        """Look at the folder once, and serve the versions that have appeared."""
        before, self._seen = self._seen, await asyncio.to_thread(_signatures, self._folder)
        for gone in self._refused.keys() - self._seen.keys():
            del self._refused[gone]
            self._manager.clear_refusal(*gone)
        unloaded = self._manager.unloaded
        for name in sorted({name for name, _ in self._seen} - unloaded):
            for version in self._candidates(name):
                signature = self._seen[name, version]
                if signature == before.get((name, version)) and signature != self._refused.get((name, version)):
                    try:
                        await self._manager.adopt(name, version)
                        break
                    except ArtifactError:  # the manager has logged the error
                        self._refused[name, version] = signature

    def _candidates(self, name: str) -> list[str]:
        """The versions to serve in preference to the served version, the greatest first."""
        present = sorted((version for each, version in self._seen if each == name), key=int, reverse=True)
        served = self._manager.versions.get(name)
        return present[: present.index(served)] if served in present else present

    def _looks_for_all(self) -> bool:
        """Whether this process looks for all processes. The first process that asks does so until its end."""
        if self._lock is None or self._locked is not None:
            return True
        locked = self._lock.open("w")
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locked.close()
            return False
        self._locked = locked
        return True


@asynccontextmanager
async def watching(manager: ModelManager, settings: Settings, shared: Path | None) -> AsyncIterator[None]:
    """Watch the models folder for the time of the block, if the settings say so.

    Args:
        manager: loads and swaps the models.
        settings: of the service.
        shared: the folder that all worker processes share; None for a process that serves alone.
    """
    if not (seconds := settings.watch_seconds):
        yield
        return
    watcher = FolderWatcher(manager, settings.models, seconds, None if shared is None else shared / "watch")
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _signatures(folder: Path) -> dict[Version, Signature]:
    """The signatures of all versions in the models folder."""
    return {
        (name, version): signature
        for name, versions in version_folders(folder).items()
        for version, each in versions.items()
        if (signature := _signature(each)) is not None
    }


def _signature(folder: Path) -> Signature | None:
    """The signature of a folder; None if the folder disappears in the meantime."""
    try:
        return tuple(map(_file_signature, sorted(folder.iterdir())))
    except FileNotFoundError:
        return None
    except OSError as error:
        return (("", -(error.errno or 0), 0, 0),)


def _file_signature(path: Path) -> tuple[str, int, int, int]:
    """The signature of a file. If there is none, the error takes its place: reading the version then gives a reason."""
    try:
        stat = path.stat()
    except OSError as error:
        return path.name, -(error.errno or 0), 0, 0
    return path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino
