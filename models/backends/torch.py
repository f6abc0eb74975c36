"""The backend of torch: the same modules that training fits, on the CPU or on CUDA."""

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
from models.backends.flight import Flight, Places, Start
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.step import Step


class TorchBackend:
    """Runs a network by torch.

    Args:
        network: what to run; it is moved to the device.
        device: "cpu" or "cuda".

    Raises:
        ValueError: torch sees no such device.
    """

    def __init__(self, network: Network, device: str = "cpu") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device cuda: torch sees no CUDA device; it takes one, and a torch built for CUDA")
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device
        self._steps = {method: network.step(method) for method in METHODS} if isinstance(network, ODENet) else {}

    @torch.no_grad()
    def stem(self, images: Images, /) -> Tensor:
        """The state at t = 0."""
        z: Tensor = self._network.stem(torch.tensor(images, device=self._device))
        return z

    def step(self, method: str, /) -> Step:
        """One step of a method."""
        return self._steps[method]

    @torch.no_grad()
    def head(self, z: Tensor, /) -> Tensor:
        """The logits of the state at t = 1."""
        logits: Tensor = self._network.head(z)
        return logits

    def to_numpy(self, array: Tensor, /) -> npt.NDArray[Any]:
        """A tensor as a NumPy array on the host."""
        host: npt.NDArray[Any] = array.detach().cpu().numpy()
        return host

    def flight(self, method: str | None, capacity: int, /) -> "TorchFlight":
        """An empty flight; on CUDA its steps are captured graphs."""
        return TorchFlight(self._network, None if method is None else self._steps[method], capacity, self._device)


class TorchFlight(Flight):
    """A flight whose arrays lie on the device, and whose steps write them in place.

    On CUDA a step is launched as one captured graph. There is a graph for each power of two of rows, the places
    beyond those that are taken being computed for nothing.

    Args:
        network: with a stem and a head.
        step: of the method; None for a network without an ODE.
        capacity: the most rows.
        device: "cpu" or "cuda".
    """

    def __init__(self, network: Network, step: Step | None, capacity: int, device: str) -> None:
        super().__init__(None if step is None else step.tableau, capacity)
        self._network, self._step, self._device = network, step, device
        self._t, self._h, self._rtol, self._atols = torch.zeros(4, capacity, device=device)
        self._told = torch.zeros(4, capacity, device=device)  # of the last attempt: t, h, error, accepted
        self._z = self._k1 = torch.zeros(capacity, 0, device=device)  # until the stem says how large a state is
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @torch.no_grad()
    def _begin(self, images: Images | Sequence[Images], first: int, starts: list[Start]) -> None:
        places = slice(first, first + len(images))
        z = self._network.stem(torch.tensor(np.asarray(images), device=self._device))
        if not self._z.numel():
            self._z, self._k1 = z.new_zeros(2, self.capacity, *z.shape[1:])
        self._z[places] = z
        self._t[places] = 0
        columns = torch.tensor(starts, dtype=z.dtype).T.to(self._device)
        for array, column in zip((self._h, self._rtol, self._atols), columns, strict=True):
            array[places] = column
        if self._step is not None and self._step.tableau.fsal:
            self._k1[places] = self._step.dynamics(self._t[places], z)

    @torch.no_grad()
    def _attempt(self, rows: int) -> Attempt:
        if self._device == "cpu":
            self._advance(rows)
        else:
            self._graph(min(1 << (rows - 1).bit_length(), self.capacity)).replay()
        t, h, error, accepted = self._told[:, :rows].cpu().numpy()
        return Attempt(z=None, k1=None, t=t, h=h, error=error, accepted=accepted.astype(bool))

    def _advance(self, rows: int) -> None:
        """Attempt a step for the first rows, in place."""
        if self._step is None:
            raise TypeError("a network without an ODE takes no steps")
        arrays = [self._z, self._k1, self._t, self._h]
        inputs = [array[:rows] for array in (*arrays, self._rtol, self._atols)]
        tried = self._step(*inputs)
        self._told[:, :rows] = torch.stack([tried.t, tried.h, tried.error, tried.accepted.to(tried.t.dtype)])
        for array, advanced in zip(arrays, tried[:4], strict=True):
            array[:rows] = advanced

    def _graph(self, rows: int) -> torch.cuda.CUDAGraph:
        """The captured step of the first rows."""
        if rows not in self._graphs:
            # What warms up and what is captured run the step, so the arrays are put back as they were.
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

    def _time_and_step(self, place: int) -> tuple[float, float]:
        return float(self._t[place]), float(self._h[place])

    def _restart(self, place: int, start: Start) -> None:
        self._h[place], self._rtol[place], self._atols[place] = start

    def _move(self, source: int, target: int) -> None:
        for array in (self._z, self._k1, self._t, self._h, self._rtol, self._atols):
            array[target] = array[source]

    @torch.no_grad()
    def _logits(self, places: Places) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._network.head(self._z[places]).cpu().numpy()
        return logits


def load_network(artifact: Artifact) -> Network:
    """The network of an artifact with its fitted weights.

    Raises:
        ArtifactError: the weights cannot be read, or are not those of the network.
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
