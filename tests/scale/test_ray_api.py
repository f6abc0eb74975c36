"""The tests of the API, with Ray's proxy in the place of the service's own server.

These are the tests that need nothing but a client. The tests of the connections themselves stay with the server.
"""

from collections.abc import Iterator

import httpx
import pytest

pytest.importorskip("ray", reason="Ray is not installed; make test-scale installs it")

from tests.scale.cluster import OPEN, deploy, running_cluster, wait_until_ready
from tests.service.api import (
    test_bad_input,
    test_catalogue,
    test_documents,
    test_paths,
    test_plan,
    test_predict,
    test_without_ode,
)
from tests.service.api.v2 import test_infer, test_models, test_parameters, test_refusals
from tests.serving import DEFAULT_MODEL, FITTED, SMALL_LIMITS
from tests.waiting import HANG

pytestmark = [pytest.mark.scale, pytest.mark.system, pytest.mark.filterwarnings("ignore")]

MODULES = (
    test_bad_input, test_catalogue, test_documents, test_paths, test_plan, test_predict, test_without_ode,
    test_infer, test_models, test_parameters, test_refusals,
)  # fmt: skip

for module in MODULES:
    _, _, prefix = module.__name__.rpartition(".")
    tests = {name.removeprefix("test_"): test for name, test in vars(module).items() if name.startswith("test_")}
    globals().update({f"{prefix}_{name}": test for name, test in tests.items()})


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a replica with all models that ship, through Ray's proxy."""
    with running_cluster(1) as (_, url), httpx.Client(base_url=url, timeout=HANG) as client:
        deploy(FITTED, {**OPEN, **SMALL_LIMITS, "ODENET_MODEL": DEFAULT_MODEL}, num_replicas=1)
        wait_until_ready(url, 1)
        yield client
