"""The errors of the networks on one kind of digits: as arrays, and as pictures that the service decodes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.pictures.decoding import decode_files
from benchmarks.pictures.scenes import encode
from models import artifact as artifacts
from models.backends.answer import Floats, Images
from models.backends.onnx import OnnxBackend
from models.form import SIDE
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome, solve

DEFAULT = "default"
LOOSE, TIGHT = 1.0, 1e-3
BATCH_SIZE = 64
ENLARGEMENT = 10

Digits = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Network:
    """A network, and the settings of its solver.

    Attributes:
        name: the name of the artifact.
        solvers: the settings by name: "loose", "default" and "tight". A network without an ODE has only "default",
            which is None.
        backend: runs the network.
    """

    name: str
    solvers: dict[str, SolverSettings | None]
    backend: OnnxBackend


@dataclass(frozen=True)
class Errors:
    """The errors of each network on one kind of digits.

    Attributes:
        kind: the name of the kind.
        raw: the share of wrong answers for arrays, for each setting of each network in turn.
        pictures: as `raw`, for pictures. A refused picture counts as wrong.
        refused: the share of pictures that the service refuses. This share does not depend on the network.
    """

    kind: str
    raw: list[float]
    pictures: list[float]
    refused: float


def open_networks(models: Path) -> list[Network]:
    """Open the newest version of every network in a models folder, in the order of their names.

    Raises:
        ArtifactError: an artifact cannot be trusted or read.
    """
    newest = (artifacts.newest(folder) for folder in sorted(models.iterdir()) if folder.is_dir())
    return [_open(folder) for folder in newest if folder]


def _open(folder: Path) -> Network:
    """Open a network with its default setting and, if it has an ODE, the settings of a loose and a tight request."""
    artifact = artifacts.read(folder)
    manifest, profile = artifact.manifest, artifact.profile
    solvers = {DEFAULT: manifest.default_solver}
    if profile is not None:
        loose, tight = (SolverSettings.adaptive(profile.method_for(value), value) for value in (LOOSE, TIGHT))
        solvers = {"loose": loose, **solvers, "tight": tight}
    return Network(manifest.name, solvers, OnnxBackend(folder, manifest.methods))


def measure(kind: str, networks: list[Network], images: Images, labels: Digits) -> Errors:
    """Measure every network on the digits of one kind.

    Args:
        kind: the name of the kind.
        networks: at least one network.
        images: the corrupted digits, ``[rows, 28, 28]``.
        labels: ``[rows]``.
    """
    decoded, shown = through_service(images)
    raw, pictures = (np.concatenate([answer(network, form) for network in networks]) for form in (images, decoded))
    return Errors(
        kind,
        raw=(raw != labels).mean(axis=1).tolist(),
        pictures=((pictures != labels) | ~shown).mean(axis=1).tolist(),
        refused=float((~shown).mean()),
    )


def answer(network: Network, images: Images) -> Digits:
    """Classify images with a network at each of its settings; the digits are ``[settings, rows]``.

    The state at t = 0 is computed once for all settings. A solve that does not converge gives -1.
    """
    backend, batches = network.backend, []
    for start in range(0, len(images), BATCH_SIZE):
        z = backend.stem(images[start : start + BATCH_SIZE])
        batches.append([_digits(backend, z, solver) for solver in network.solvers.values()])
    return np.concatenate(batches, axis=1)


def _digits(backend: OnnxBackend, z: Floats, solver: SolverSettings | None) -> Digits:
    if solver is None:
        digits: Digits = backend.head(z).argmax(axis=1)
        return digits
    solution = solve(backend.step(solver.method), z, **solver.arguments._asdict())
    return np.where(solution.outcome == Outcome.converged, backend.head(solution.z).argmax(axis=1), -1)


def through_service(images: Images) -> tuple[Images, Mask]:
    """Send digits through the service's decoder as pictures.

    Each digit is enlarged ten times with bicubic interpolation, to 280x280 grey pixels, and encoded as a PNG.

    Returns:
        The decoded digits, uint8 ``[rows, 28, 28]``, and a mask ``[rows]`` of the pictures that were not refused. The
        image of a refused picture is all black.
    """
    size = (SIDE * ENLARGEMENT,) * 2
    pictures = (Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in images)
    return decode_files([encode(picture) for picture in pictures])
