"""The base class of every network: a stem and a head. An ODE-Net solves an ODE between them."""

from torch import Tensor, nn


class Network(nn.Module):
    """A classifier of pictures.

    Args:
        stem: maps pixels in 0..255, ``[rows, 28, 28]``, to features.
        head: maps features to logits, ``[rows, classes]``.
    """

    def __init__(self, stem: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Classify images ``[rows, 28, 28]`` in 0..255, uint8 or floating. The logits are ``[rows, classes]``."""
        logits: Tensor = self.head(self.stem(images))
        return logits
