"""The torch backend. It runs the same modules that training fits, on the CPU or on CUDA."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.artifact import WEIGHTS, Artifact, ArtifactError
from models.backends.answer import Images
from models.backends.flight import Flight
from models.backends.graphs import Bucketed, Function, captured
from models.form import SIDE
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.settings import SolveArguments
from models.solvers.step import Step
from models.solvers.tableau import Tableau

COLUMNS = ("t", "h", "rtol", "atol")
"""The numbers of a row that a step reads."""


class Parts(NamedTuple):
    """The parts of a network that a flight runs. Each takes and returns tensors with one row per image.

    Attributes:
        state_shape: the shape of the state of one image.
        stem: from images to states.
        slope: from states at t = 0 to f there. A network without an ODE never runs it.
        head: from states to logits.
        steps: by method one step, see `_advance`; empty for a network without an ODE.
    """

    state_shape: torch.Size
    stem: Function
    slope: Function
    head: Function
    steps: dict[str, Function]


class TorchBackend:
    """Runs a network with torch. On CUDA, only one thread at a time may use the flights of a backend.

    Args:
        network: the network. It is moved to the device, and its parameters are frozen.
        device: "cpu" or "cuda". On CUDA, flights run captured graphs (`models.backends.graphs`).

    Raises:
        ValueError: the device is "cuda", but torch sees no CUDA device.
    """

    def __init__(self, network: Network, device: str = "cpu") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device cuda: torch sees no CUDA device; CUDA needs such a device and a torch built for CUDA"
            )
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._steps = {method: network.step(method) for method in METHODS} if isinstance(network, ODENet) else {}
        self._parts = make_parts(network, self._steps, in_graphs if device == "cuda" else unchanged)

    @torch.no_grad()
    def stem(self, images: Images, /) -> Tensor:
        """The state at t = 0, ``[rows, *state_shape]``."""
        z: Tensor = self._network.stem(torch.tensor(images, device=self._device))
        return z

    def step(self, method: str, /) -> Step:
        """One step of a method."""
        return self._steps[method]

    @torch.no_grad()
    def head(self, z: Tensor, /) -> Tensor:
        """The logits ``[rows, classes]`` of the state at t = 1."""
        logits: Tensor = self._network.head(z)
        return logits

    def to_numpy(self, array: Tensor, /) -> npt.NDArray[Any]:
        """Convert a tensor to a NumPy array in host memory."""
        host: npt.NDArray[Any] = array.detach().cpu().numpy()
        return host

    def clock(self) -> float:
        """Seconds: on the CPU of this thread; on CUDA by the wall clock, after all earlier work has ended."""
        if self._device == "cpu":
            return time.thread_time()
        torch.cuda.current_stream().synchronize()
        return time.perf_counter()

    def prepare(self, rows: int) -> None:
        """Do now the work that would make a first call slow: on CUDA, capture all graphs. This takes seconds.

        Args:
            rows: the greatest capacity of the flights. A larger flight captures graphs later.
        """
        for part in (self._parts.stem, self._parts.slope, self._parts.head, *self._parts.steps.values()):
            if isinstance(part, Bucketed):
                part.prepare(rows)

    def flight(self, method: str | None, capacity: int, /) -> "TorchFlight":
        """An empty flight."""
        return TorchFlight(self._parts, None if method is None else METHODS[method], capacity, self._device)


def make_parts(
    network: Network, steps: dict[str, Step], wrap: Callable[[Function, Sequence[Tensor]], Function]
) -> Parts:
    """Make the parts of a network, for its flights.

    Args:
        network: the network.
        steps: one step by method; empty for a network without an ODE.
        wrap: makes a part from a function and an example of each argument, such as `in_graphs`.
    """
    device = next(network.parameters()).device
    images = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8, device=device)
    z = network.stem(images)
    columns = z.new_zeros(1, len(COLUMNS))

    def slope(z: Tensor) -> tuple[Tensor]:
        return (network.dynamics(z.new_zeros(len(z)), z) if isinstance(network, ODENet) else z,)

    return Parts(
        state_shape=z.shape[1:],
        stem=wrap(lambda images: (network.stem(images),), [images]),
        slope=wrap(slope, [z]),
        head=wrap(lambda z: (network.head(z),), [z]),
        steps={
            method: wrap(partial(_advance, step), [torch.stack([z] * _planes(step.tableau), 1), columns])
            for method, step in steps.items()
        },
    )


def unchanged(function: Function, examples: Sequence[Tensor]) -> Function:  # noqa: ARG001 (as `in_graphs`)
    """A part on the CPU, where a launch costs nothing."""
    return function


def in_graphs(function: Function, examples: Sequence[Tensor]) -> Function:
    """A part on CUDA: it computes in buckets of captured graphs."""
    return Bucketed(function, examples, captured)


def _planes(tableau: Tableau | None) -> int:
    """How many arrays of the shape of z a row has: z, and for an FSAL method k1."""
    return 2 if tableau is not None and tableau.fsal else 1


def _advance(step: Step, state: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Attempt a step for each row.

    Args:
        step: the step.
        state: z and, for an FSAL method, k1, ``[rows, 1 or 2, *state_shape]``.
        columns: the `COLUMNS`, ``[rows, 4]``.

    Returns:
        The next state, and t, h, the error and whether the attempt was accepted, ``[rows, 4]``.
    """
    tried = step(state[:, 0], state[:, -1], *columns.unbind(1))
    arrays = (tried.z, tried.k1) if step.tableau.fsal else (tried.z,)
    results = torch.stack([tried.t, tried.h, tried.error, tried.accepted.to(columns.dtype)], 1)
    return torch.stack(arrays, 1), results


class TorchFlight(Flight):
    """A flight whose states are on the device. Times, step sizes and tolerances are in host memory.

    Args:
        parts: the parts of the network.
        tableau: the method; None for a network without an ODE.
        capacity: the greatest number of rows.
        device: "cpu" or "cuda".
    """

    def __init__(self, parts: Parts, tableau: Tableau | None, capacity: int, device: str) -> None:
        super().__init__(tableau, capacity)
        self._parts, self._device = parts, device
        self._state = torch.zeros(capacity, _planes(tableau), *parts.state_shape, device=device)  # z, k1
        self._columns = np.zeros((capacity, len(COLUMNS)), np.float32)

    @property
    def _states(self) -> Tensor:
        return self._state[:, 0]

    def _begin(self, images: Images | Sequence[Images], first: int, arguments: Sequence[SolveArguments]) -> None:
        (z,) = self._parts.stem(torch.tensor(np.asarray(images)))
        self._start(z, first, arguments)

    def _restore(self, starts: Sequence[Tensor], first: int, arguments: Sequence[SolveArguments]) -> None:
        self._start(torch.stack(list(starts)), first, arguments)

    def _start(self, z: Tensor, first: int, arguments: Sequence[SolveArguments]) -> None:
        """Start new rows with their states, ``[rows, *state_shape]``, in the slots from the first on."""
        slots = slice(first, first + len(z))
        self._state[slots, 0] = z
        self._columns[slots, 0] = 0
        self._columns[slots, 1:] = arguments
        if self.tableau is not None and self.tableau.fsal:
            (self._state[slots, 1],) = self._parts.slope(z)

    def _attempt(self, rows: int) -> Attempt:
        if self.tableau is None:
            raise TypeError("a network without an ODE takes no steps")
        columns = torch.from_numpy(self._columns[:rows])
        self._state[:rows], results = self._parts.steps[self.tableau.name](self._state[:rows], columns)
        t, h, error, accepted = results.cpu().numpy().T
        self._columns[:rows, 0], self._columns[:rows, 1] = t, h
        return Attempt(z=None, k1=None, t=t, h=h, error=error, accepted=accepted.astype(bool))

    def _time_and_step(self, slot: int) -> tuple[float, float]:
        t, h, _, _ = self._columns[slot].tolist()
        return t, h

    def _restart(self, slot: int, arguments: SolveArguments) -> None:
        self._columns[slot, 1:] = arguments

    def _move(self, sources: list[int], targets: list[int]) -> None:
        self._columns[targets] = self._columns[sources]
        taken, given = torch.tensor([sources, targets], device=self._device)
        for array in (self._state, self._kept):
            if array is not None:
                array[given] = array[taken]

    def _logits(self, slots: Sequence[int]) -> npt.NDArray[np.float32]:
        index = slice(self.rows) if len(slots) == self.rows else torch.tensor(slots, device=self._device)
        (found,) = self._parts.head(self._states[index])
        logits: npt.NDArray[np.float32] = found.cpu().numpy()
        return logits


def load_network(artifact: Artifact) -> Network:
    """The network of an artifact with its fitted weights.

    Raises:
        ArtifactError: the weights cannot be read, or do not fit the network.
    """
    manifest = artifact.manifest
    normalisation = Normalisation(**manifest.normalisation.model_dump())
    network = NETWORKS[manifest.network](normalisation, len(manifest.classes))
    path = artifact.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{path}: not the weights of {manifest.network} ({error})") from error
    return network
