"""What every network is: a stem and a head, and between them, in an ODE-Net, a solve."""

from torch import Tensor, nn


class Network(nn.Module):
    """A classifier of pictures.

    Args:
        stem: from pixels of 0..255, ``[rows, 28, 28]``, to features.
        head: from features to logits, ``[rows, classes]``.
    """

    def __init__(self, stem: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Classify images ``[rows, 28, 28]`` of 0..255, uint8 or floating; the logits are ``[rows, classes]``."""
        logits: Tensor = self.head(self.stem(images))
        return logits
