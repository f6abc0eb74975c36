import pytest
import torch

from models.networks.odenet import ODENet
from training.data import Dataset


@pytest.fixture
def network(few_digits: Dataset) -> ODENet:
    torch.manual_seed(0)
    return ODENet(few_digits.normalisation)
