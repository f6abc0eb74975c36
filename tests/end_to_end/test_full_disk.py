"""The disk with the temporary files is full. The service goes on answering, and says what it leaves out."""

import resource

import httpx
import pytest

from tests.digits import load_test_set
from tests.end_to_end.callers import PIXELS, workers
from tests.serving import TWO_MODELS, Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system


def test_requests_are_answered_while_the_disk_is_full() -> None:
    with running(models=TWO_MODELS, ODENET_WORKERS="2") as service:
        for process in workers(service):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert [statuses(service, method) for method in ("euler", "midpoint", "rk4")] == [{200}] * 3
        with service.client() as client:
            assert client.get("/metrics").status_code == 200
            answer = client.post("/predict?model=mlp", files={"digits": load_test_set()[0][:2000].tobytes()})
            assert answer.json()["detail"] == "images: at most 256 in a request", "the whole form was read"
        assert "not shared with the other processes: [Errno 27] File too large" in "".join(service.log)


def statuses(service: Running, method: str) -> set[int]:
    """The statuses of answers by a method, which the metrics count for the first time."""
    content = load_test_set()[0][0].tobytes()
    url = f"{service.url}/predict?method={method}&steps=1"
    return {
        httpx.post(url, content=content, headers=PIXELS, trust_env=False, timeout=HANG).status_code for _ in range(8)
    }
