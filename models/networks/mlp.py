"""The multilayer perceptron of table 1 of Chen et al. 2018 (arXiv 1806.07366): one hidden layer."""

from torch import nn

from models.form import SIDE
from models.networks.layers import Normalisation, Normalise
from models.networks.network import Network

PIXELS = SIDE * SIDE
HIDDEN = 300


class MLP(Network):
    """One hidden layer of 300 units, fully connected to the pixels and to the classes.

    It has 238,510 parameters for ten classes.

    Args:
        normalisation: how the network scales pixels.
        classes: the number of classes.
    """

    def __init__(self, normalisation: Normalisation, classes: int = 10) -> None:
        stem = nn.Sequential(Normalise(normalisation), nn.Flatten(), nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        super().__init__(stem, nn.Linear(HIDDEN, classes))
