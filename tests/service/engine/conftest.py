import pytest

from service.engine.model import ServedModel
from tests.service.engine.driving import Driver, served


@pytest.fixture
def model() -> ServedModel:
    """The default model, with fixed costs."""
    return served("odenet-mnist")


@pytest.fixture
def mlp() -> ServedModel:
    """A model without an ODE."""
    return served("mlp")


@pytest.fixture
def driver(model: ServedModel) -> Driver:
    """An engine that runs only the iterations that the test asks for."""
    return Driver(model)
