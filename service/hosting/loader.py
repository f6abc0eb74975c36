"""The loader: from the folder of a version to a model that is read, checked, warm and ready to answer."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import numpy as np

from models import artifact as artifacts
from models.artifact import MANIFEST, Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome
from service.engine.model import LARGEST_BATCH, ServedModel
from service.hosting.layout import version_folder
from service.processors import give_way
from service.settings import Settings

LONGEST_TRIAL = 60.0
"""Seconds in which a model must answer the probes. The shipped models need less than a second."""

PROBES = np.zeros((2, 28, 28), np.uint8)
"""Images that a model must answer before it is served: an empty image, and a vertical stroke."""
PROBES[1, 4:24, 13:15] = 255


class Loader:
    """Loads models one after another, in a thread that gives way to the threads that serve.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "loader", give_way)

    async def load(self, name: str, version: str) -> ServedModel:
        """Load a version of a model.

        Raises:
            ArtifactError: the version cannot be served; the message gives the reason, with paths relative to the models
                folder, and with backslashes in place of what is not UTF-8 in the name of a file.
        """
        loop, models = asyncio.get_running_loop(), self._settings.models
        try:
            return await loop.run_in_executor(self._thread, self._load, name, version)
        except Exception as error:  # no error of a new model may stop the served models
            reason = str(error).replace(f"{models}{os.sep}", "").encode(errors="backslashreplace").decode()
            raise ArtifactError(
                reason if isinstance(error, ArtifactError) else f"{name}/{version}: {reason}"
            ) from error

    def _load(self, name: str, version: str) -> ServedModel:
        return load(version_folder(self._settings.models, name, version), self._settings)


def read(folder: Path, models: Path) -> Artifact:
    """Read the artifact in the folder of a version.

    Args:
        folder: the folder of the version.
        models: the models folder. If it is itself the artifact, it may have any name.

    Raises:
        ArtifactError: the artifact is corrupt, or its manifest names another model or version than the folder.
    """
    artifact = artifacts.read(folder)
    manifest = artifact.manifest
    if folder != models and (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise ArtifactError(
            f"{folder / MANIFEST}: says {manifest.name} version {manifest.version}, and lies in {folder}"
        )
    return artifact


def load(folder: Path, settings: Settings) -> ServedModel:
    """Load the version in a folder.

    Raises:
        ArtifactError: the artifact is corrupt, or its answers to the probes are not sane.
        ValueError: the backend or the device is not available.
    """
    artifact = read(folder, settings.models)
    backend = make_backend(artifact, settings)
    check_answers(artifact, backend)
    return ServedModel.warm(artifact, backend, settings.device)


def make_backend(artifact: Artifact, settings: Settings) -> Backend:
    """Make the backend that runs an artifact.

    Raises:
        ArtifactError: a graph cannot be loaded.
        ValueError: the backend or the device is not available.
    """
    if settings.backend == "onnxruntime":
        return OnnxBackend(artifact.folder, artifact.manifest.methods, settings.device)
    try:
        import torch  # noqa: PLC0415 (serving by onnxruntime needs no torch)

        from models.backends.torch import TorchBackend, load_network  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"backend torch: it is not installed ({error})") from error
    torch.set_num_threads(1)  # each thread of the engine computes by itself
    torch.backends.cudnn.allow_tf32 = False  # TF32 has the precision of 16-bit floats
    backend = TorchBackend(load_network(artifact), settings.device)
    backend.prepare(2 * LARGEST_BATCH[settings.device])  # a full batch and as many guests
    return backend


def check_answers(artifact: Artifact, backend: Backend, seconds: float = LONGEST_TRIAL) -> None:
    """Solve the probes once by each method, so that each graph has run.

    The check cannot tell right answers from wrong answers, because nothing is known about a new model. It tells whether
    the parts of the model fit each other and whether the answers are finite numbers.

    Args:
        artifact: the artifact.
        backend: runs the artifact.
        seconds: after this time, the graphs of an artifact are stopped. A graph may hold a loop that does not end.

    Raises:
        ArtifactError: a graph fails or does not end, or an answer has the wrong shape or is not finite.
    """
    with _limited(backend, seconds):
        _check_answers(artifact, backend)


@contextmanager
def _limited(backend: Backend, seconds: float) -> Iterator[None]:
    """Limit the time of the block. Torch needs no limit, because it runs our code and no graphs."""
    if not isinstance(backend, OnnxBackend):
        yield
        return
    timer = Timer(seconds, backend.stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_answers(artifact: Artifact, backend: Backend) -> None:
    profile, classes = artifact.profile, len(artifact.manifest.classes)
    solvers: list[SolverSettings | None] = [None]
    if profile is not None:
        solvers = [profile.cheapest([method]) for method in artifact.manifest.methods]
    for solver in solvers:
        by = "" if solver is None else f" by {solver.method}"
        try:
            answer = classify(backend, PROBES, solver)
        except Exception as error:  # the exceptions of the backends have no common base class
            raise ArtifactError(f"{artifact.folder}: an answer{by} fails ({error})") from error
        if answer.logits.shape != (len(PROBES), classes):
            shape = " by ".join(map(str, answer.logits.shape))
            raise ArtifactError(f"{artifact.folder}: an answer{by} is {shape}, not {len(PROBES)} by {classes}")
        if not np.isfinite(answer.logits).all() or (answer.outcome == Outcome.non_finite).any():
            raise ArtifactError(f"{artifact.folder}: an answer{by} is not a finite number")
