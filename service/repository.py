"""The models folder, and what of it is served: from the start on, and as callers load and unload."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from models import artifact as artifacts
from models.artifact import MANIFEST, Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from service.engine.terms import settle
from service.errors import BrokenModelError, FieldError, ForbiddenError, UnknownModelError, shortened
from service.registry import Registry, ServedModel
from service.roster import Roster
from service.settings import Settings

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A version of a model in the folder.

    Attributes:
        name: of the model.
        version: of it.
        ready: whether it is served.
        reason: why it is not; empty if it is.
    """

    name: str
    version: str
    ready: bool
    reason: str


class Repository:
    """Loads and unloads models, in this process, and where there is a roster in all that share it.

    Whoever asks for a model after a change of the roster gets it as it is by then, and waits where this process has
    yet to load it; nobody waits for a model that another asks for.

    Args:
        settings: of the service.
        registry: what this process serves at first.
        roster: that the processes share; None for one that serves alone.
        on_change: called with a model, and whether it is served from now on.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        roster: Roster | None,
        on_change: Callable[[ServedModel, bool], object],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._roster = roster
        self._on_change = on_change
        self._seen = b"" if roster is None else roster.token
        self._changing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        for model in registry:
            on_change(model, True)

    @classmethod
    def open(
        cls,
        settings: Settings,
        roster: Roster | None = None,
        on_change: Callable[[ServedModel, bool], object] = lambda _model, _served: None,
    ) -> Self:
        """Load, check and warm what the roster lists; without one, of every name the greatest version.

        Raises:
            ArtifactError: an artifact is corrupt, or without a roster the default model is not there.
            ValueError: the backend or the device is not to be had.
        """
        if roster is None:
            found = newest(settings)
        else:
            found = [_read(settings.models / name / version) for name, version in roster.read().items()]
        registry = Registry([_warm(artifact, settings) for artifact in found], settings.model)
        return cls(settings, registry, roster, on_change)

    def __iter__(self) -> Iterator[ServedModel]:
        """The models that this process serves, by their names."""
        return iter(self._registry)

    @property
    def default(self) -> ServedModel | None:
        """The model that answers a request that names none; None while it is not served."""
        return self._registry.default

    async def get(self, name: str | None, version: str | None = None) -> ServedModel:
        """The model of a name, or the default one.

        Raises:
            UnknownModelError: no model of that name, or not that version of it, is served.
        """
        if self._roster is not None and self._roster.token != self._seen:
            await self._follow(self._settings.model if name is None else name)
        return self._registry.get(name, version)

    async def load(self, name: str) -> None:
        """Serve the greatest version of a model in the folder, and no other of it.

        Raises:
            ForbiddenError: callers may not.
            UnknownModelError: there is no such model in the folder.
            BrokenModelError: it cannot be loaded; what was served still is.
        """
        folder = artifacts.newest(self._folder(name))
        if folder is None:
            raise _unknown(name)
        async with self._changing:
            if self._registry.versions.get(name) != folder.name:
                try:
                    self._put(await asyncio.to_thread(_load, folder, self._settings))
                except (ArtifactError, ValueError) as error:
                    told = str(error).removeprefix(f"{self._settings.models}{os.sep}")
                    raise BrokenModelError(FieldError("model", f"cannot be loaded: {told}")) from error
            if self._roster is not None:
                self._roster.put(name, folder.name)

    async def unload(self, name: str) -> None:
        """Serve a model no more; what is being computed is answered still.

        Raises:
            ForbiddenError: callers may not.
            UnknownModelError: there is no such model in the folder.
        """
        self._folder(name)
        async with self._changing:
            self._remove(name)
            if self._roster is not None:
                self._roster.remove(name)

    async def index(self) -> list[Entry]:
        """All that lies in the folder."""
        await self.follow()
        entries = []
        for folder in _folders(self._settings):
            served = self._registry.versions.get(folder.name)
            for version in artifacts.versions(folder):
                reason = "not loaded" if served is None else f"version {served} is served"
                ready = version.name == served
                entries.append(Entry(folder.name, version.name, ready, "" if ready else reason))
        return entries

    def knows(self, name: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, lies in the folder, served or not."""
        folder = next((folder for folder in _folders(self._settings) if folder.name == name), None)
        if folder is None or version is None:
            return folder is not None
        return any(each.name == version for each in artifacts.versions(folder))

    async def follow(self) -> None:
        """Do what other processes have done, and return when that is done."""
        async with self._changing:
            if self._roster is None:
                return
            token = self._roster.token  # first, so that what changes meanwhile is seen the next time
            listed = self._roster.read()
            for name in self._registry.versions.keys() - listed.keys():
                self._remove(name)
            for name, version in listed.items() - self._registry.versions.items():
                try:
                    self._put(await asyncio.to_thread(_load, self._settings.models / name / version, self._settings))
                except Exception:
                    logger.exception("%s version %s cannot be loaded, as another process did", name, version)
                    self._remove(name)
            self._seen = token

    async def _follow(self, name: str) -> None:
        """Follow other processes; wait for that only if it is about a model of this name."""
        while self._roster is not None and self._roster.token != self._seen:
            if self._following is None or self._following.done():
                self._following = asyncio.create_task(self.follow())
            if self._roster.read().get(name) == self._registry.versions.get(name):
                return
            await asyncio.shield(self._following)  # it may have begun before the change

    def _folder(self, name: str) -> Path:
        """The folder of a model that callers may load and unload; no other path comes from them."""
        if not self._settings.model_control:
            raise ForbiddenError(
                FieldError("model", "may not be loaded or unloaded; the setting model_control allows it")
            )
        if not self.knows(name):
            raise _unknown(name)
        return self._settings.models / name

    def _put(self, model: ServedModel) -> None:
        self._remove(model.name)
        self._registry.put(model)
        self._on_change(model, True)

    def _remove(self, name: str) -> None:
        removed = self._registry.pop(name)
        if removed is not None:
            logger.info("no longer serving %s version %s", removed.name, removed.version)
            self._on_change(removed, False)
            settle.cache_clear()  # which would keep the model


def newest(settings: Settings) -> list[Artifact]:
    """Of each name in the folder the greatest version, the default model's among them.

    Raises:
        ArtifactError: one is corrupt, or the default one is missing.
    """
    versions = (artifacts.newest(folder) for folder in _folders(settings))
    found = [_read(folder) for folder in versions if folder is not None]
    if settings.model not in {artifact.manifest.name for artifact in found}:
        raise ArtifactError(f"{settings.models / settings.model}: no such model, and it is to be the default")
    return found


def check(settings: Settings) -> dict[str, str]:
    """See whether the models could be loaded, as far as is quickly seen, for a process that will not serve itself.

    Returns:
        The versions that are to be served, by the models' names.

    Raises:
        ArtifactError: one is corrupt, or the default one is missing.
        ValueError: the backend or the device is not to be had.
    """
    found = newest(settings)
    for artifact in found:
        if artifact.manifest.name == settings.model:
            _backend(artifact, settings)
    return {artifact.manifest.name: artifact.manifest.version for artifact in found}


def _folders(settings: Settings) -> list[Path]:
    """The folders of the models, by their names."""
    return [folder for folder in sorted(settings.models.glob("*/")) if artifacts.newest(folder) is not None]


def _read(folder: Path) -> Artifact:
    """The artifact in the folder of a version."""
    artifact = artifacts.read(folder)
    manifest = artifact.manifest
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise ArtifactError(
            f"{folder / MANIFEST}: says {manifest.name} version {manifest.version}, and lies in {folder}"
        )
    return artifact


def _load(folder: Path, settings: Settings) -> ServedModel:
    """The model in the folder of a version, ready to be served."""
    return _warm(_read(folder), settings)


def _warm(artifact: Artifact, settings: Settings) -> ServedModel:
    model = ServedModel.warm(artifact, _backend(artifact, settings), settings.device)
    logger.info("serving %s version %s by %s", model.name, model.version, settings.backend)
    return model


def _backend(artifact: Artifact, settings: Settings) -> Backend:
    if settings.backend == "onnxruntime":
        return OnnxBackend(artifact.folder, artifact.manifest.methods, settings.device)
    try:
        import torch  # noqa: PLC0415 (serving by onnxruntime needs no torch)

        from models.backends.torch import TorchBackend, load_network  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"backend torch: it is not installed ({error})") from error
    torch.set_num_threads(1)  # each of the engine's threads computes by itself
    return TorchBackend(load_network(artifact), settings.device)


def _unknown(name: str) -> UnknownModelError:
    return UnknownModelError(FieldError("model", "there is no such model in the folder", shortened(name)))
