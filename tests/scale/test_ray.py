"""The service on Ray Serve: a cluster of three nodes on this machine, with failures under load.

Each test prints how many requests were answered, refused and lost; `make test-scale` shows these lines.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("ray", reason="Ray is not installed; make test-scale installs it")

from ray.cluster_utils import Cluster

from deploy.ray.app import build
from service.security.keys import Scope, make_key
from tests.artifacts import MLP, put
from tests.digits import load_test_set
from tests.scale.cluster import NODE, deploy, processes, running_cluster, wait_until_ready
from tests.scale.load import PIXELS, Load, Result, calling
from tests.waiting import HANG, until

pytestmark = [pytest.mark.scale, pytest.mark.system, pytest.mark.filterwarnings("ignore")]

NODES = 3
DIGIT = load_test_set()[0][0].tobytes()


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Cluster, str]]:
    with running_cluster(NODES) as started:
        yield started


@pytest.fixture
def cluster(started: tuple[Cluster, str], models: Path) -> Cluster:
    """The cluster, with a replica on each node."""
    deploy(models, num_replicas=NODES, max_replicas_per_node=1)
    wait_until_ready(started[1], NODES)
    return started[0]


@pytest.fixture
def url(started: tuple[Cluster, str], cluster: Cluster) -> str:
    """The URL of the proxy, after the replicas run."""
    return started[1]


def report(event: str, load: Load) -> None:
    """Print the results, which the closing note of a release quotes."""
    print(f"\n{event}: {dict(load.counts())}")  # noqa: T201


def test_answers_and_refusals_pass_through_as_they_are(url: str) -> None:
    with httpx.Client(base_url=url, timeout=HANG) as client:
        answer = client.post("/predict", content=DIGIT, headers=PIXELS | {"x-request-id": "seven"})
        assert answer.status_code == 200
        assert {*answer.headers.get_list("x-request-id")} == {"seven"}, "Ray adds the header once more"
        assert answer.json()["predictions"][0]["digit"] == load_test_set()[1][0]
        assert client.get("/v2/models/digits").json()["versions"] == ["1"]
        refusals = {
            413: client.post("/predict", content=DIGIT * 300, headers=PIXELS),
            404: client.get("/nowhere"),
            422: client.post("/predict?tolerance=-1", content=DIGIT, headers=PIXELS),
        }
    for status, refusal in refusals.items():
        assert refusal.status_code == status
        assert refusal.headers["content-type"] == "application/problem+json"


def test_a_killed_replica_loses_only_the_requests_that_it_had(cluster: Cluster, url: str) -> None:
    with calling(url, callers=6) as load:
        victim = min(processes())
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        load.go_on(20)
        wait_until_ready(url, NODES)
    report("kill -9 of one of three replicas", load)
    lost = load.with_result(Result.lost)
    assert load.with_result(Result.refused) == []
    assert all(request.sent < killed for request in lost), "a request that was not on the replica was lost"
    assert len(lost) <= len(load.callers)


def test_a_killed_node_loses_only_the_requests_that_it_had(cluster: Cluster, url: str) -> None:
    node = min(cluster.worker_nodes, key=lambda node: node.node_id)
    with calling(url, callers=6) as load:
        cluster.remove_node(node, allow_graceful=False)
        killed = time.monotonic()
        load.go_on(20)
        cluster.add_node(**NODE)
        wait_until_ready(url, NODES)
    report("kill of one of three nodes", load)
    lost = load.with_result(Result.lost)
    assert load.with_result(Result.refused) == []
    assert all(request.sent < killed for request in lost), "a request that was not on the node was lost"
    assert len(lost) <= len(load.callers)


def test_scaling_up_and_down_loses_nothing(cluster: Cluster, url: str, models: Path) -> None:
    deploy(models, num_replicas=1)
    wait_until_ready(url, 1)
    with calling(url, callers=6) as load:
        for number in (NODES, 1):
            deploy(models, num_replicas=number)
            wait_until_ready(url, number)
            load.go_on(5)
    report("scale 1, 3, 1", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}


def test_a_rolling_update_to_another_version_loses_nothing(url: str, tmp_path: Path) -> None:
    put(tmp_path, "digits", "2", MLP)
    with calling(url, callers=6) as load:
        deploy(tmp_path, num_replicas=NODES)
        wait_until_ready(url, NODES)
        updated = time.monotonic()
        load.go_on(5)
    report("rolling update of three replicas", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}
    assert {request.detail for request in load.requests} == {"1", "2"}
    assert {request.detail for request in load.requests if request.sent > updated} == {"2"}


def test_a_refusal_of_a_replica_passes_through_with_its_retry_after(url: str, models: Path, tmp_path: Path) -> None:
    key, entry = make_key("caller", frozenset({Scope.predict}), requests_per_minute=1)
    (tmp_path / "keys.toml").write_text(entry)
    deploy(models, {"ODENET_API_KEY_FILE": str(tmp_path / "keys.toml")}, num_replicas=1)
    headers = PIXELS | {"authorization": f"Bearer {key}"}
    until(lambda: httpx.post(f"{url}/predict", content=DIGIT, headers=PIXELS, timeout=HANG).status_code == 401)
    answers = [httpx.post(f"{url}/predict", content=DIGIT, headers=headers, timeout=HANG) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60


def test_model_control_is_refused_because_it_would_reach_one_replica_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_NO_AUTH", "true")
    monkeypatch.setenv("ODENET_MODEL_CONTROL", "true")
    with pytest.raises(ValueError, match="model_control: is not available on Ray Serve"):
        build()
