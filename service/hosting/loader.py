"""From the folder of a version to a model that is ready to be served: read, checked, warmed."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import get_native_id

import numpy as np

from models import artifact as artifacts
from models.artifact import MANIFEST, Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.settings import Settings

NICENESS = 10
"""Of the thread that loads (Linux, sched(7)): of a processor that another thread wants it has a tenth. With less it
would keep Python's lock for long, now and then, while it waits for a processor; with none, callers wait for it."""

KNOWN = np.zeros((2, 28, 28), np.uint8)
"""What a model must have an answer to before it is served: nothing, and a stroke."""
KNOWN[1, 4:24, 13:15] = 255


class Loader:
    """Loads one model after another beside those that are served, in a thread that stands back for theirs.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "loader", _stand_back)

    async def load(self, name: str, version: str) -> ServedModel:
        """The model in the folder of a version, ready to be served.

        Raises:
            ArtifactError: it cannot be; the message says why, with paths within the models folder.
        """
        loop, models = asyncio.get_running_loop(), self._settings.models
        try:
            return await loop.run_in_executor(self._thread, load, models / name / version, self._settings)
        except Exception as error:
            # Whatever is wrong with a new model is no fault of those that are served.
            reason = str(error).replace(f"{models}{os.sep}", "")
            told = reason if isinstance(error, ArtifactError) else f"{name}/{version}: {reason}"
            raise ArtifactError(told) from error


def _stand_back() -> None:
    """Let all other threads go first."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)


def read(folder: Path) -> Artifact:
    """The artifact in the folder of a version.

    Raises:
        ArtifactError: it is corrupt, or lies in the folder of another.
    """
    artifact = artifacts.read(folder)
    manifest = artifact.manifest
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise ArtifactError(
            f"{folder / MANIFEST}: says {manifest.name} version {manifest.version}, and lies in {folder}"
        )
    return artifact


def load(folder: Path, settings: Settings) -> ServedModel:
    """The model in the folder of a version, ready to be served.

    Raises:
        ArtifactError: it is corrupt, or has no sane answer to what every model must.
        ValueError: the backend or the device is not to be had.
    """
    artifact = read(folder)
    backend = make_backend(artifact, settings)
    check_answers(artifact, backend)
    return ServedModel.warm(artifact, backend, settings.device)


def make_backend(artifact: Artifact, settings: Settings) -> Backend:
    """What runs an artifact.

    Raises:
        ArtifactError: a graph cannot be loaded.
        ValueError: the backend or the device is not to be had.
    """
    if settings.backend == "onnxruntime":
        return OnnxBackend(artifact.folder, artifact.manifest.methods, settings.device)
    try:
        import torch  # noqa: PLC0415 (serving by onnxruntime needs no torch)

        from models.backends.torch import TorchBackend, load_network  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"backend torch: it is not installed ({error})") from error
    torch.set_num_threads(1)  # each of the engine's threads computes by itself
    return TorchBackend(load_network(artifact), settings.device)


def check_answers(artifact: Artifact, backend: Backend) -> None:
    """Solve what every model must have an answer to, once by each method, so that each graph has run.

    Right or wrong cannot be told of a model that nobody knows yet, but whether its parts fit each other and their
    numbers are numbers.

    Raises:
        ArtifactError: a graph fails, or an answer is of the wrong shape or no finite number.
    """
    profile, classes = artifact.profile, len(artifact.manifest.classes)
    solvers: list[SolverSettings | None] = [None]
    if profile is not None:
        solvers = [profile.cheapest([method]) for method in artifact.manifest.methods]
    for solver in solvers:
        by = "" if solver is None else f" by {solver.method}"
        try:
            answer = classify(backend, KNOWN, solver)
        except Exception as error:  # the exceptions of the backends have no base of their own
            raise ArtifactError(f"{artifact.folder}: an answer{by} fails ({error})") from error
        if answer.logits.shape != (len(KNOWN), classes):
            shape = " by ".join(map(str, answer.logits.shape))
            raise ArtifactError(f"{artifact.folder}: an answer{by} is {shape}, not {len(KNOWN)} by {classes}")
        if not np.isfinite(answer.logits).all() or (answer.outcome == Outcome.non_finite).any():
            raise ArtifactError(f"{artifact.folder}: an answer{by} is no finite number")
