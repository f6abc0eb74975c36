"""The backend of torch: the same modules that training fits, on the CPU or on CUDA."""

from typing import Any

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.artifact import WEIGHTS, Artifact, ArtifactError
from models.backends.protocol import Images
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
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


def load_network(artifact: Artifact) -> Network:
    """The network of an artifact with its fitted weights.

    Raises:
        ArtifactError: the weights cannot be read, or are not those of the network.
    """
    manifest = artifact.manifest
    normalisation = Normalisation(manifest.normalisation.mean, manifest.normalisation.std)
    network = NETWORKS[manifest.network](normalisation, len(manifest.classes))
    path = artifact.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{path}: not the weights of {manifest.network} ({error})") from error
    return network
