"""The model manager: loads, swaps and unloads the models of this process, at the start and while it serves."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Set
from typing import NamedTuple, Self

from models.artifact import ArtifactError
from service.engine.model import ServedModel
from service.errors import BrokenModelError, FieldError, ForbiddenError, NotReadyError, UnknownModelError, shortened
from service.hosting.desired_state import DesiredState, DesiredVersion
from service.hosting.folder import newest_readable
from service.hosting.layout import Versions, version_folder, version_folders
from service.hosting.loader import Loader, load
from service.hosting.registry import Registry
from service.settings import Settings

OnChange = Callable[[ServedModel, bool], object]
"""Called with a model, and whether it is served from now on."""

OnFailure = Callable[[str], object]
"""Called with the name of a model of which a version could not be loaded."""

logger = logging.getLogger(__name__)


class FolderEntry(NamedTuple):
    """A version of a model in the models folder.

    Attributes:
        name: the name of the model.
        version: the version.
        ready: whether the version is served.
        reason: why the version is not served; empty if it is served.
    """

    name: str
    version: str
    ready: bool
    reason: str


class ModelManager:
    """Serves the desired versions, in this process and in all processes that share the desired state.

    A new version replaces the old version between two requests, after the new version is read, checked and warm.
    Requests that started on the old version finish on it.

    After a caller has loaded or unloaded a model, every request for this model gets the result. If this process has not
    loaded the model yet, the request waits. Models are loaded one after another, so the request may also wait for
    others. No other request waits, and none waits for a version that appeared in the folder by itself.

    Args:
        settings: of the service.
        registry: the models that this process serves at first.
        desired: the versions that all processes should serve.
        token: the token of the desired state that the registry corresponds to.
        on_change: called with each model that is served from now on, or no longer.
        on_failure: called when a version could not be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        desired: DesiredState,
        token: bytes,
        on_change: OnChange,
        on_failure: OnFailure,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._desired = desired
        self._on_change = on_change
        self._on_failure = on_failure
        self._loader = Loader(settings)
        self._token = token  # of the desired state that this process has reached
        self._read_token = b""  # of the desired state that was read into `_wanted`
        self._wanted: dict[str, DesiredVersion] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._changing = asyncio.Lock()
        self._synchronising: asyncio.Task[None] | None = None
        for model in registry:
            on_change(model, True)

    @classmethod
    def open(
        cls,
        settings: Settings,
        desired: DesiredState | None = None,
        on_change: OnChange = lambda _model, _served: None,
        on_failure: OnFailure = lambda _name: None,
    ) -> Self:
        """Load the desired versions; without a desired state, the greatest version of each model.

        A version that cannot be loaded is replaced by the greatest version that can, and tried again later. So a worker
        process that replaces another one starts, whatever has happened to the folder in the meantime.

        Raises:
            ArtifactError: no version of the default model can be loaded.
            ValueError: the backend or the device is not available.
        """
        if desired is None:
            desired = DesiredState.alone()
            for artifact in newest_readable(settings):
                desired.put(artifact.manifest.name, artifact.manifest.version)
        registry, token, failures = Registry([], settings.model), desired.token, dict[tuple[str, str], str]()
        for name, wanted in desired.read().items():
            model = _first_loadable(name, wanted.version, settings, failures)
            if model is not None:
                registry.put(model)
            elif name == settings.model:
                raise ArtifactError(failures[name, wanted.version])
        manager = cls(settings, registry, desired, token, on_change, on_failure)
        manager._failures |= failures
        return manager

    def __iter__(self) -> Iterator[ServedModel]:
        """The models that this process serves, sorted by name."""
        return iter(self._registry)

    @property
    def default(self) -> ServedModel | None:
        """The model for requests that name no model; None while it is not served."""
        return self._registry.default

    @property
    def versions(self) -> dict[str, str]:
        """The versions that this process serves, by the models' names."""
        return self._registry.versions

    @property
    def unloaded(self) -> set[str]:
        """The models that callers have unloaded."""
        return self._desired.unloaded

    async def get(self, name: str | None, version: str | None = None) -> ServedModel:
        """Find a model that is served.

        Args:
            name: the name of the model; None for the default model.
            version: the version; None for the version that is served.

        Raises:
            UnknownModelError: no model of this name is served, or another version of it is.
        """
        if self._desired.token != self._token:
            await self.wait_until_current(self._settings.model if name is None else name)
        return self._registry.get(name, version)

    async def load(self, name: str) -> None:
        """Serve the greatest version of a model in the folder, because a caller asks for it.

        Raises:
            ForbiddenError: the settings do not let callers load models.
            UnknownModelError: the folder has no such model.
            BrokenModelError: the version cannot be loaded. The version that was served still is.
            NotReadyError: the disk is full, so this process cannot tell the others. Nothing has changed.
        """
        version = list(self._controlled(name))[-1]
        async with self._changing:
            try:
                await self._swap(name, version, at_once=True)
            except ArtifactError as error:
                raise BrokenModelError(FieldError("model", f"cannot be loaded: {error}")) from error
            except OSError as error:
                raise _unrecorded(error) from error

    async def unload(self, name: str) -> None:
        """Stop serving a model, because a caller asks for it. Requests that have started are still answered.

        Raises:
            ForbiddenError: the settings do not let callers unload models.
            UnknownModelError: the folder has no such model.
            NotReadyError: the disk is full, so this process cannot tell the others. Nothing has changed.
        """
        self._controlled(name)
        try:
            self._desired.unload(name)
        except OSError as error:
            raise _unrecorded(error) from error
        async with self._changing:
            self._remove(name)

    async def adopt(self, name: str, version: str) -> None:
        """Serve a version that has appeared in the folder, unless a caller has unloaded the model.

        Raises:
            ArtifactError: the version cannot be served. The version that was served still is.
        """
        async with self._changing:
            if name not in self.unloaded:
                await self._swap(name, version, at_once=False)

    def clear_refusal(self, name: str, version: str) -> None:
        """Forget that a version was refused, because it is no longer in the folder."""
        self._desired.clear_refusal(name, version)

    async def index(self) -> list[FolderEntry]:
        """All versions in the folder, and all served versions that are no longer in the folder."""
        await self.wait_until_current()
        served, refusals = self._registry.versions, self._desired.refusals
        models = version_folders(self._settings.models)
        present = {(name, version) for name, versions in models.items() for version in versions}
        entries = []
        for name, version in sorted(present | served.items(), key=lambda each: (each[0], int(each[1]))):
            ready = served.get(name) == version
            reason = "not loaded" if name not in served else f"version {served[name]} is served"
            if (name, version) in refusals:
                reason = f"refused: {refusals[name, version]}"
            entries.append(FolderEntry(name, version, ready, "" if ready else reason))
        return entries

    def knows(self, name: str, version: str | None = None) -> bool:
        """Whether a model, or a version of it, is in the folder, served or not."""
        versions = version_folders(self._settings.models).get(name)
        return versions is not None and (version is None or version in versions)

    async def wait_until_current(self, *names: str) -> None:
        """Return once this process has made the changes that callers have asked of any process.

        Args:
            names: the models that matter; none for all models.
        """
        while (token := self._desired.token) != self._token:
            if token != self._read_token:  # read once per change, and not once per request
                self._wanted, self._read_token = self._desired.read(), token
                self._remove_all_but(self._wanted.keys())
                self._forget_failures(self._wanted)
            synchronising = self._start_synchronising()
            if not any(self._is_due(name) for name in names or self._wanted.keys() | self.versions.keys()):
                return
            await asyncio.shield(synchronising)

    async def synchronise(self, *, retry: bool = False) -> None:
        """Make the changes that other processes have made.

        Args:
            retry: whether to try the versions again that could not be loaded.
        """
        if retry and self._failures:
            self._token = b""
        if self._desired.token != self._token:
            await asyncio.shield(self._start_synchronising())

    def _start_synchronising(self) -> asyncio.Task[None]:
        """The task that makes the changes of other processes; it starts unless it is running."""
        if self._synchronising is None or self._synchronising.done():
            self._synchronising = asyncio.create_task(self._synchronise())
        return self._synchronising

    def _is_due(self, name: str) -> bool:
        """Whether requests for a model must wait, because this process has yet to load or unload it."""
        wanted, served = self._wanted.get(name), self._registry.versions.get(name)
        if wanted is None:
            return served is not None
        return wanted.version != served and (
            (wanted.at_once or served is None) and (name, wanted.version) not in self._failures
        )

    async def _synchronise(self) -> None:
        async with self._changing:
            token = self._desired.token  # before the entries, so that a change in the meantime is noticed next time
            wanted = self._desired.read()
            self._remove_all_but(wanted.keys())
            for name, each in wanted.items():
                if each.version == self.versions.get(name):
                    continue
                try:
                    self._put(await self._loader.load(name, each.version))
                except ArtifactError as error:
                    self._record_failure(name, each.version, str(error))
            self._token = token

    def _remove_all_but(self, wanted: Set[str]) -> None:
        """Stop serving the models that are no longer wanted."""
        for name in self.versions.keys() - wanted:
            self._remove(name)

    def _forget_failures(self, wanted: dict[str, DesiredVersion]) -> None:
        """Forget why versions could not be loaded that callers have loaded since in another process."""
        for name, each in wanted.items():
            if each.at_once:
                self._failures.pop((name, each.version), None)

    async def _swap(self, name: str, version: str, *, at_once: bool) -> None:
        """Serve a version of a model in place of the others, and make the other processes do the same.

        The desired state changes first. If the disk is full, no process changes.
        """
        model = None
        if self.versions.get(name) != version:
            try:
                model = await self._loader.load(name, version)
            except ArtifactError as error:
                self._record_failure(name, version, str(error))
                self._refuse(name, version, str(error))
                raise
            if not at_once and name in self.unloaded:
                return
        self._desired.put(name, version, at_once=at_once)
        if model is not None:
            self._put(model)
        self._desired.clear_refusal(name, version)

    def _refuse(self, name: str, version: str, reason: str) -> None:
        """Tell all processes why a version cannot be served. If the disk is full, only the log of this one says so."""
        try:
            self._desired.refuse(name, version, reason)
        except OSError as error:
            logger.warning("the index does not say why %s version %s is refused: %s", name, version, error)

    def _record_failure(self, name: str, version: str, reason: str) -> None:
        """Log that a version cannot be loaded, unless the log has just said so, and count it."""
        if self._failures.get((name, version)) != reason:
            served = self.versions.get(name)
            rest = "the model is not served" if served is None else f"version {served} is still served"
            logger.error("%s version %s cannot be loaded; %s: %s", name, version, rest, reason)
        self._failures[name, version] = reason
        self._on_failure(name)

    def _controlled(self, name: str) -> Versions:
        """The versions of a model that callers may load and unload. Callers can choose no other path."""
        if not self._settings.model_control:
            raise ForbiddenError(
                FieldError("model", "may not be loaded or unloaded; the setting model_control allows it")
            )
        versions = version_folders(self._settings.models).get(name)
        if versions is None:
            raise _unknown(name)
        return versions

    def _put(self, model: ServedModel) -> None:
        self._remove(model.name)
        self._registry.put(model)
        self._failures = {key: reason for key, reason in self._failures.items() if key[0] != model.name}
        self._on_change(model, True)
        logger.info("serving %s version %s by %s", model.name, model.version, self._settings.backend)

    def _remove(self, name: str) -> None:
        removed = self._registry.pop(name)
        if removed is not None:
            logger.info("no longer serving %s version %s", removed.name, removed.version)
            self._on_change(removed, False)


def _first_loadable(
    name: str, wanted: str, settings: Settings, failures: dict[tuple[str, str], str]
) -> ServedModel | None:
    """The wanted version of a model, or the greatest version that can be loaded. Failures are logged and recorded."""
    others = reversed(version_folders(settings.models).get(name, {}))
    for version in dict.fromkeys([wanted, *others]):
        try:
            model = load(version_folder(settings.models, name, version), settings)
        except ArtifactError as error:
            failures[name, version] = str(error)
            logger.error("%s version %s is skipped: %s", name, version, error)  # noqa: TRY400
        else:
            logger.info("serving %s version %s by %s", name, version, settings.backend)
            return model
    return None


def _unknown(name: str) -> UnknownModelError:
    return UnknownModelError(FieldError("model", "there is no such model in the folder", shortened(name)))


def _unrecorded(error: OSError) -> NotReadyError:
    """The refusal of a change that cannot be written to the folder that all processes share."""
    return NotReadyError(FieldError("service", f"cannot change which models are served: {error.strerror}"))
