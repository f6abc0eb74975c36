"""Looks at the models folder, again and again, for versions that have come or gone."""

import asyncio
import fcntl
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from models import artifact as artifacts
from models.artifact import ArtifactError
from service.hosting.manager import ModelManager
from service.settings import Settings

FOLLOW_SECONDS = 0.25
"""After which a process does at the latest what another has seen."""

Version = tuple[str, str]
"""A model's name, and a version of it."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Of a folder: of each file its name, length, time and inode, so that it is another after any change."""

logger = logging.getLogger(__name__)


class Watch:
    """Has of each model the greatest version served that lies in the folder and can be loaded.

    A version is looked at closely once two looks have found it the same, so that one that is still being copied is
    left alone; one that was refused, once it has changed. One that is served is not looked at again, and goes on from
    memory when it is removed: an earlier version takes over if there is one, as it would at the next start.

    Args:
        repository: which loads and swaps.
        folder: the models folder.
        seconds: between two looks.
        lock: a file that the process holds a lock on which looks for all of them; None for a process that serves alone.
    """

    def __init__(self, repository: ModelManager, folder: Path, seconds: float, lock: Path | None = None) -> None:
        self._repository = repository
        self._folder = folder
        self._seconds = seconds
        self._lock = lock
        self._held: IO[str] | None = None
        self._seen: dict[Version, Signature] = {}
        self._refused: dict[Version, Signature] = {}
        self._complaint = ""

    async def run(self) -> None:
        """Look until this is cancelled."""
        due = time.monotonic() + self._seconds
        try:
            while True:
                await asyncio.sleep(min(FOLLOW_SECONDS, self._seconds))
                if time.monotonic() < due:
                    await self._safely(self._repository.catch_up())
                else:
                    due = time.monotonic() + self._seconds
                    await self._safely(self._turn())
        finally:
            if self._held is not None:
                self._held.close()

    async def _turn(self) -> None:
        """Try again what has failed, and look."""
        await self._repository.catch_up(again=True)
        if self._looks_for_all():
            await self.look()
        self._complaint = ""

    async def _safely(self, what: Coroutine[None, None, None]) -> None:
        """Have something done; whatever goes wrong, the next look may fare better."""
        try:
            await what
        except Exception as error:
            if str(error) != self._complaint:
                logger.exception("the models folder %s cannot be looked at", self._folder)
            self._complaint = str(error)

    async def look(self) -> None:
        """Look once, and have served what has come."""
        before, self._seen = self._seen, await asyncio.to_thread(_look, self._folder)
        for gone in self._refused.keys() - self._seen.keys():
            del self._refused[gone]
            self._repository.forgive(*gone)
        unloaded = self._repository.unloaded
        for name in sorted({name for name, _ in self._seen} - unloaded):
            for version in self._candidates(name):
                signature = self._seen[name, version]
                if signature == before.get((name, version)) and signature != self._refused.get((name, version)):
                    try:
                        await self._repository.take(name, version)
                        break
                    except ArtifactError:  # which the repository has told of
                        self._refused[name, version] = signature

    def _candidates(self, name: str) -> list[str]:
        """The versions to be served rather than the one that is, the greatest first."""
        lying = sorted((version for each, version in self._seen if each == name), key=int, reverse=True)
        served = self._repository.versions.get(name)
        return lying[: lying.index(served)] if served in lying else lying

    def _looks_for_all(self) -> bool:
        """Whether this process is the one that looks; if none does, it is from now on, until it ends."""
        if self._lock is None or self._held is not None:
            return True
        held = self._lock.open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            return False
        self._held = held
        return True


@asynccontextmanager
async def watching(repository: ModelManager, settings: Settings, shared: Path | None) -> AsyncIterator[None]:
    """Watch the models folder meanwhile, if the settings say so.

    Args:
        repository: which loads and swaps.
        settings: of the service.
        shared: the folder that all processes share; None for a process that serves alone.
    """
    if not (seconds := settings.seconds_between_looks):
        yield
        return
    watch = Watch(repository, settings.models, seconds, None if shared is None else shared / "watch")
    task = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _look(folder: Path) -> dict[Version, Signature]:
    """What lies in the models folder."""
    return {
        (name.name, version.name): signature
        for name in sorted(folder.glob("*/"))
        for version in artifacts.versions(name)
        if (signature := _signature(version)) is not None
    }


def _signature(folder: Path) -> Signature | None:
    """The signature of a folder; None where it goes away meanwhile."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except FileNotFoundError:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)
