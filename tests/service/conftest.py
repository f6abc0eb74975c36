from collections.abc import Iterator

import httpx
import pytest

from tests.serving import EVERY_MODEL, SMALL_LIMITS, Running, running


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    """A service with all models that ship, and with small limits."""
    with running(models=EVERY_MODEL, **SMALL_LIMITS) as service:
        yield service


@pytest.fixture(scope="session")
def client(service: Running) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client
