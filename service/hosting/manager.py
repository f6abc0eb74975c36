"""The models folder, and what of it is served: from the start on, as callers load and unload, and as versions come."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from models import artifact as artifacts
from models.artifact import Artifact, ArtifactError
from service.engine.model import ServedModel
from service.errors import BrokenModelError, FieldError, ForbiddenError, UnknownModelError, shortened
from service.hosting.desired_state import DesiredState, DesiredVersion
from service.hosting.loader import Loader, load, make_backend, read
from service.hosting.registry import Registry
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


class ModelManager:
    """Loads and unloads models, in this process and in all that share its desired.

    A model is swapped for another version of it within one turn of the event loop, once that is read, checked and
    warm; requests that have begun are answered by the version before.

    Whoever asks for a model after a caller has changed what is served gets it as it is by then, and waits where this
    process has yet to load it; nobody waits for a model that another asks for, or for a version that came by itself.

    Args:
        settings: of the service.
        registry: what this process serves at first.
        desired: which says what all serve.
        seen: its token, of when this process served what it says.
        on_change: called with a model, and whether it is served from now on.
        on_failure: called with the name of a model of which a version could not be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        desired: DesiredState,
        seen: bytes,
        on_change: Callable[[ServedModel, bool], object],
        on_failure: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._roster = desired
        self._on_change = on_change
        self._on_failure = on_failure
        self._loader = Loader(settings)
        self._seen, self._told = seen, b""
        self._orders: dict[str, DesiredVersion] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._changing = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        for model in registry:
            on_change(model, True)

    @classmethod
    def open(
        cls,
        settings: Settings,
        desired: DesiredState | None = None,
        on_change: Callable[[ServedModel, bool], object] = lambda _model, _served: None,
        on_failure: Callable[[str], object] = lambda _name: None,
    ) -> Self:
        """Load, check and warm what the desired lists; without one, of every name the greatest version.

        What cannot be loaded is passed over for the greatest version that can, or left out, and tried again while
        serving: a process that takes the place of another starts whatever has become of the folder meanwhile.

        Raises:
            ArtifactError: no version of the default model can be loaded.
            ValueError: the backend or the device is not to be had.
        """
        if desired is None:
            desired = DesiredState.alone()
            for artifact in newest(settings):
                desired.put(artifact.manifest.name, artifact.manifest.version)
        registry, seen, failed = Registry([], settings.model), desired.token, dict[tuple[str, str], str]()
        for name, order in desired.read().items():
            others = [folder.name for folder in reversed(artifacts.versions(settings.models / name))]
            for version in dict.fromkeys([order.version, *others]):
                try:
                    registry.put(load(settings.models / name / version, settings))
                except ArtifactError as error:
                    failed[name, version] = str(error)
                    logger.error("%s version %s is passed over: %s", name, version, error)  # noqa: TRY400
                else:
                    logger.info("serving %s version %s by %s", name, version, settings.backend)
                    break
            if name == settings.model and name not in registry.versions:
                raise ArtifactError(failed[name, order.version])
        repository = cls(settings, registry, desired, seen, on_change, on_failure)
        repository._failed |= failed
        return repository

    def __iter__(self) -> Iterator[ServedModel]:
        """The models that this process serves, by their names."""
        return iter(self._registry)

    @property
    def default(self) -> ServedModel | None:
        """The model that answers a request that names none; None while it is not served."""
        return self._registry.default

    @property
    def versions(self) -> dict[str, str]:
        """The versions that this process serves, by the models' names."""
        return self._registry.versions

    @property
    def unloaded(self) -> set[str]:
        """The models that callers have unloaded."""
        return self._roster.unloaded

    async def get(self, name: str | None, version: str | None = None) -> ServedModel:
        """The model of a name, or the default one.

        Raises:
            UnknownModelError: no model of that name, or not that version of it, is served.
        """
        if self._roster.token != self._seen:
            await self.wait_until_current(self._settings.model if name is None else name)
        return self._registry.get(name, version)

    async def load(self, name: str) -> None:
        """Serve the greatest version of a model in the folder, and no other of it, as a caller wants.

        Raises:
            ForbiddenError: callers may not.
            UnknownModelError: there is no such model in the folder.
            BrokenModelError: it cannot be loaded; what was served still is.
        """
        folder = artifacts.newest(self._folder(name))
        if folder is None:
            raise _unknown(name)
        async with self._changing:
            try:
                await self._swap(name, folder.name, at_once=True)
            except ArtifactError as error:
                raise BrokenModelError(FieldError("model", f"cannot be loaded: {error}")) from error

    async def take(self, name: str, version: str) -> None:
        """Serve a version that has come into the folder, unless a caller has unloaded the model.

        Raises:
            ArtifactError: it cannot be served; what was served still is.
        """
        async with self._changing:
            if name not in self.unloaded:
                await self._swap(name, version, at_once=False)

    def forgive(self, name: str, version: str) -> None:
        """Forget that a version was refused, as it is there no more."""
        self._roster.forgive(name, version)

    async def unload(self, name: str) -> None:
        """Serve a model no more, as a caller wants; what is being computed is answered still.

        Raises:
            ForbiddenError: callers may not.
            UnknownModelError: there is no such model in the folder.
        """
        self._folder(name)
        self._roster.unload(name)
        async with self._changing:
            self._remove(name)

    async def index(self) -> list[Entry]:
        """All that lies in the folder, and what is served and lies there no more."""
        await self.wait_until_current()
        served, refusals = self._registry.versions, self._roster.refusals
        folders = [version for folder in _folders(self._settings) for version in artifacts.versions(folder)]
        lying = {(folder.parent.name, folder.name) for folder in folders}
        entries = []
        for name, version in sorted(lying | served.items(), key=lambda each: (each[0], int(each[1]))):
            ready = served.get(name) == version
            reason = "not loaded" if name not in served else f"version {served[name]} is served"
            if (name, version) in refusals:
                reason = f"refused: {refusals[name, version]}"
            entries.append(Entry(name, version, ready, "" if ready else reason))
        return entries

    def knows(self, name: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, lies in the folder, served or not."""
        folder = next((folder for folder in _folders(self._settings) if folder.name == name), None)
        if folder is None or version is None:
            return folder is not None
        return any(each.name == version for each in artifacts.versions(folder))

    async def wait_until_current(self, *names: str) -> None:
        """Return when what callers have changed by way of other processes is so here too.

        Args:
            names: of the models that matter; none for all.
        """
        while (token := self._roster.token) != self._seen:
            if token != self._told:  # read once a change, not once a request
                self._orders, self._told = self._roster.read(), token
            following = self._follow()
            if not any(self._is_due(name) for name in names or self._orders.keys() | self.versions.keys()):
                return
            await asyncio.shield(following)

    async def catch_up(self, *, again: bool = False) -> None:
        """Do what other processes have done.

        Args:
            again: whether to try what has failed once more.
        """
        if again and self._failed:
            self._seen = b""
        if self._roster.token != self._seen:
            await asyncio.shield(self._follow())

    def _follow(self) -> asyncio.Task[None]:
        """Begin to do what other processes have done, if that has not begun."""
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._agree())
        return self._following

    def _is_due(self, name: str) -> bool:
        """Whether a model is to be served, or not to be, in another way than it is, and who asks for it waits."""
        order, served = self._orders.get(name), self._registry.versions.get(name)
        if order is None:
            return served is not None
        return order.version != served and (
            (order.at_once or served is None) and (name, order.version) not in self._failed
        )

    async def _agree(self) -> None:
        async with self._changing:
            token = self._roster.token  # first, so that what changes meanwhile is seen the next time
            orders = self._roster.read()
            for name in self.versions.keys() - orders.keys():
                self._remove(name)
            for name, order in orders.items():
                if order.version == self.versions.get(name):
                    continue
                try:
                    self._put(await self._loader.load(name, order.version))
                except ArtifactError as error:
                    self._fail(name, order.version, str(error))
            self._seen = token

    async def _swap(self, name: str, version: str, *, at_once: bool) -> None:
        """Serve a version, and no other of the model, and have the other processes do so."""
        if self.versions.get(name) != version:
            try:
                model = await self._loader.load(name, version)
            except ArtifactError as error:
                self._roster.refuse(name, version, str(error))
                self._fail(name, version, str(error))
                raise
            if not at_once and name in self.unloaded:
                return
            self._put(model)
        self._roster.put(name, version, at_once=at_once)
        self._roster.forgive(name, version)

    def _fail(self, name: str, version: str, reason: str) -> None:
        """Tell that a version cannot be loaded, but not again what has just been told."""
        if self._failed.get((name, version)) != reason:
            served = self.versions.get(name)
            goes_on = "the model is not served" if served is None else f"version {served} goes on"
            logger.error("%s version %s cannot be loaded, and %s: %s", name, version, goes_on, reason)
        self._failed[name, version] = reason
        self._on_failure(name)

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
        self._failed = {key: reason for key, reason in self._failed.items() if key[0] != model.name}
        self._on_change(model, True)
        logger.info("serving %s version %s by %s", model.name, model.version, self._settings.backend)

    def _remove(self, name: str) -> None:
        removed = self._registry.pop(name)
        if removed is not None:
            logger.info("no longer serving %s version %s", removed.name, removed.version)
            self._on_change(removed, False)


def newest(settings: Settings) -> list[Artifact]:
    """Of each name in the folder the greatest version whose files are as they should be; the default model among them.

    Raises:
        ArtifactError: the default model is missing.
    """
    found = [artifact for folder in _folders(settings) if (artifact := _newest(artifacts.versions(folder)))]
    if settings.model not in {artifact.manifest.name for artifact in found}:
        raise ArtifactError(
            f"{settings.models / settings.model}: no such model that can be read, and it is to be the default"
        )
    return found


def _newest(versions: list[Path]) -> Artifact | None:
    """The last of some versions whose files are as they should be; of those after it, the log says what is not."""
    for folder in reversed(versions):
        try:
            return read(folder)
        except ArtifactError as error:
            logger.error("%s version %s is passed over: %s", folder.parent.name, folder.name, error)  # noqa: TRY400
    return None


def check(settings: Settings) -> dict[str, str]:
    """See whether the models could be loaded, as far as is quickly seen, for a process that will not serve itself.

    Returns:
        The versions that are to be served, by the models' names.

    Raises:
        ArtifactError: the default model is missing or corrupt.
        ValueError: the backend or the device is not to be had.
    """
    found = newest(settings)
    for artifact in found:
        if artifact.manifest.name == settings.model:
            make_backend(artifact, settings)
    return {artifact.manifest.name: artifact.manifest.version for artifact in found}


def _folders(settings: Settings) -> list[Path]:
    """The folders of the models, by their names."""
    return [folder for folder in sorted(settings.models.glob("*/")) if artifacts.newest(folder) is not None]


def _unknown(name: str) -> UnknownModelError:
    return UnknownModelError(FieldError("model", "there is no such model in the folder", shortened(name)))
