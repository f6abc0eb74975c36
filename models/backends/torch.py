"""The torch backend. It runs the same modules that training fits, on the CPU or on CUDA."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.artifact import WEIGHTS, Artifact, ArtifactError
from models.backends.answer import Images
from models.backends.flight import Flight
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.settings import SolveArguments
from models.solvers.step import Step


class TorchBackend:
    """Runs a network with torch.

    Args:
        network: the network. It is moved to the device.
        device: "cpu" or "cuda".

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

    def flight(self, method: str | None, capacity: int, /) -> "TorchFlight":
        """An empty flight. On CUDA its steps are captured CUDA graphs."""
        return TorchFlight(self._network, None if method is None else self._steps[method], capacity, self._device)


class TorchFlight(Flight):
    """A flight whose arrays are on the device and are updated in place by each step.

    On CUDA a step is launched as one captured graph. There is one graph for each power of two of rows, so a step also
    computes some empty slots, and their results are ignored.

    Args:
        network: the network; its stem and its head are used.
        step: one step of the method; None for a network without an ODE.
        capacity: the greatest number of rows.
        device: "cpu" or "cuda".
    """

    def __init__(self, network: Network, step: Step | None, capacity: int, device: str) -> None:
        super().__init__(None if step is None else step.tableau, capacity)
        self._network, self._step, self._device = network, step, device
        self._t, self._h, self._rtol, self._atols = torch.zeros(4, capacity, device=device)
        self._last_attempt = torch.zeros(4, capacity, device=device)  # t, h, error, accepted
        self._z = self._k1 = torch.zeros(capacity, 0, device=device)  # resized when the stem returns the first state
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @property
    def _states(self) -> Tensor:
        return self._z

    @torch.no_grad()
    def _begin(self, images: Images | Sequence[Images], first: int, arguments: Sequence[SolveArguments]) -> None:
        self._start(self._network.stem(torch.tensor(np.asarray(images), device=self._device)), first, arguments)

    @torch.no_grad()
    def _restore(self, starts: Sequence[Tensor], first: int, arguments: Sequence[SolveArguments]) -> None:
        self._start(torch.stack(list(starts)), first, arguments)

    def _start(self, z: Tensor, first: int, arguments: Sequence[SolveArguments]) -> None:
        """Start new rows with their states, ``[rows, *state_shape]``, in the slots from the first on."""
        slots = slice(first, first + len(z))
        if not self._z.numel():
            self._z, self._k1 = z.new_zeros(2, self.capacity, *z.shape[1:])
        self._z[slots] = z
        self._t[slots] = 0
        columns = torch.tensor(arguments, dtype=z.dtype).T.to(self._device)
        for array, column in zip((self._h, self._rtol, self._atols), columns, strict=True):
            array[slots] = column
        if self._step is not None and self._step.tableau.fsal:
            self._k1[slots] = self._step.dynamics(self._t[slots], z)

    @torch.no_grad()
    def _attempt(self, rows: int) -> Attempt:
        if self._device == "cpu":
            self._advance(rows)
        else:
            self._graph(min(1 << (rows - 1).bit_length(), self.capacity)).replay()
        t, h, error, accepted = self._last_attempt[:, :rows].cpu().numpy()
        return Attempt(z=None, k1=None, t=t, h=h, error=error, accepted=accepted.astype(bool))

    def _advance(self, rows: int) -> None:
        """Attempt a step for the first rows, in place."""
        if self._step is None:
            raise TypeError("a network without an ODE takes no steps")
        arrays = [self._z, self._k1, self._t, self._h]
        inputs = [array[:rows] for array in (*arrays, self._rtol, self._atols)]
        tried = self._step(*inputs)
        self._last_attempt[:, :rows] = torch.stack([tried.t, tried.h, tried.error, tried.accepted.to(tried.t.dtype)])
        for array, advanced in zip(arrays, tried[:4], strict=True):
            array[:rows] = advanced

    def _graph(self, rows: int) -> torch.cuda.CUDAGraph:
        """The CUDA graph of a step of the first rows. It is captured at the first call for a number of rows."""
        if rows not in self._graphs:
            # The warm-up runs the step, so we restore the arrays afterwards.
            arrays = (self._z, self._k1, self._t, self._h)
            kept = [array.clone() for array in arrays]
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._advance(rows)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance(rows)
            for array, before in zip(arrays, kept, strict=True):
                array.copy_(before)
            self._graphs[rows] = graph
        return self._graphs[rows]

    def _time_and_step(self, slot: int) -> tuple[float, float]:
        return float(self._t[slot]), float(self._h[slot])

    def _restart(self, slot: int, arguments: SolveArguments) -> None:
        self._h[slot], self._rtol[slot], self._atols[slot] = arguments

    def _move(self, sources: list[int], targets: list[int]) -> None:
        for array in (self._z, self._k1, self._t, self._h, self._rtol, self._atols):
            array[targets] = array[sources]

    @torch.no_grad()
    def _logits(self, slots: Sequence[int]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._network.head(self._z[list(slots)]).cpu().numpy()
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
