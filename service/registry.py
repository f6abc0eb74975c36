"""The models that are served."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from models import artifact as artifacts
from models.artifact import MANIFEST, Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from service.engine.costs import Costs
from service.errors import FieldError, UnknownModelError, shortened
from service.settings import Settings

logger = logging.getLogger(__name__)


MOST_ROWS = {"cpu": 64, "cuda": 256}
"""Rows that may be computed together; on a CPU a larger batch leaves the caches, on a GPU it is what fills it."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An artifact, what runs it, and what that costs here."""

    artifact: Artifact
    backend: Backend
    costs: Costs

    @classmethod
    def warm(cls, artifact: Artifact, backend: Backend, device: str = "cpu") -> Self:
        """Run a model for the first time, which is slow, and measure what it costs then."""
        return cls(artifact, backend, Costs.measure(backend, artifact.manifest.default_solver, MOST_ROWS[device]))

    @property
    def expected_seconds(self) -> float:
        """What an image costs at the default setting, alone."""
        default, profile = self.artifact.manifest.default_solver, self.artifact.profile
        nfe = 0.0 if default is None or profile is None else profile.nearest(default).nfe.mean
        return self.costs.answer(1, nfe)

    @property
    def name(self) -> str:
        """What callers ask for."""
        return self.artifact.manifest.name

    @property
    def version(self) -> str:
        """The version that is served."""
        return self.artifact.manifest.version


class Registry:
    """The models of a folder, of each name the greatest version.

    Args:
        served: at least one.
        default: the name of the model that answers a request that names none.
    """

    def __init__(self, served: list[ServedModel], default: str) -> None:
        self._by_name = {model.name: model for model in served}
        self._default = default

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Load, check and warm every model of the folder.

        Raises:
            ArtifactError: an artifact is corrupt, or the default model is not there.
            ValueError: the backend or the device is not to be had.
        """
        return cls([_load(artifact, settings) for artifact in _read(settings)], settings.model)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._by_name.values())

    def is_default(self, model: ServedModel) -> bool:
        """Whether the model answers a request that names none."""
        return model.name == self._default

    def get(self, name: str | None) -> ServedModel:
        """The model of a name, or the default one.

        Raises:
            UnknownModelError: no model has that name.
        """
        model = self._by_name.get(self._default if name is None else name)
        if model is None:
            known = ", ".join(self._by_name)
            raise UnknownModelError(
                FieldError(field="model", message=f"no such model; there are {known}", value=shortened(str(name)))
            )
        return model


def check(settings: Settings) -> None:
    """Whether the models could be loaded: all that is quickly seen, for a process that will not serve itself.

    Raises:
        ArtifactError: as `Registry.load`.
        ValueError: likewise.
    """
    for artifact in _read(settings):
        if artifact.manifest.name == settings.model:
            _backend(artifact, settings)


def _read(settings: Settings) -> list[Artifact]:
    """The models of a folder, of each name the greatest version, the default one among them."""
    newest = (artifacts.newest(name) for name in sorted(settings.models.glob("*/")))
    found = [artifacts.read(folder) for folder in newest if folder is not None]
    for artifact in found:
        manifest, folder = artifact.manifest, artifact.folder
        if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
            raise ArtifactError(
                f"{folder / MANIFEST}: says {manifest.name} version {manifest.version}, and lies in {folder}"
            )
    if settings.model not in {artifact.manifest.name for artifact in found}:
        raise ArtifactError(f"{settings.models / settings.model}: no such model, and it is to be the default")
    return found


def _load(artifact: Artifact, settings: Settings) -> ServedModel:
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
