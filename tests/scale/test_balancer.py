"""HAProxy with the configuration that ships, before four replicas of the service on this machine.

Each test prints how many requests were answered, refused and lost; `make test-scale` shows these lines.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

from service.security.keys import Scope, make_key
from tests.artifacts import MLP, put
from tests.digits import load_test_set
from tests.scale.load import PIXELS, Load, Result, calling
from tests.scale.replicas import Balancer, Replica, balancing, running_replicas
from tests.waiting import HANG, until

pytestmark = [pytest.mark.scale, pytest.mark.system]

REPLICAS = 4
PULSE = 0.05
"""Seconds for which the slow replica stands still, again and again."""


@pytest.fixture(scope="module")
def replicas(models: Path) -> Iterator[list[Replica]]:
    """Four replicas with the default times for a stop. Each test leaves them running."""
    flags = ("--models", str(models), "--model", "digits", "--watch-seconds", "0.2")
    with running_replicas(REPLICAS, *flags) as replicas:
        yield replicas


@pytest.fixture(scope="module")
def balancer(replicas: list[Replica], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    with balancing(replicas, tmp_path_factory.mktemp("haproxy")) as balancer:
        yield balancer


def report(event: str, load: Load) -> None:
    """Print the results, which the closing note of a release quotes."""
    print(f"\n{event}: {dict(load.counts())}")  # noqa: T201


def restart(replica: Replica, balancer: Balancer) -> None:
    """Start a replica that has ended, and wait until HAProxy sends requests to all replicas again."""
    replica.start()
    until(lambda: len(balancer.up()) == REPLICAS)


def test_a_killed_replica_loses_only_the_requests_that_it_had(replicas: list[Replica], balancer: Balancer) -> None:
    victim = replicas[0]
    with calling(balancer.url) as load:
        victim.stop(signal.SIGKILL)
        ended = time.monotonic()
        load.go_on(20)
    report("kill -9 of one of four replicas", load)
    assert load.with_result(Result.refused) == []
    assert all(request.sent < ended for request in load.with_result(Result.lost))
    assert len(load.with_result(Result.lost)) <= len(load.callers), "each caller has one request in flight"
    restart(victim, balancer)


def test_a_replica_that_ends_by_sigterm_loses_nothing(replicas: list[Replica], balancer: Balancer) -> None:
    with calling(balancer.url) as load:
        assert replicas[0].stop() == 0
        load.go_on(10)
    report("SIGTERM to one of four replicas", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}
    restart(replicas[0], balancer)


def test_a_rolling_restart_loses_nothing(replicas: list[Replica], balancer: Balancer) -> None:
    with calling(balancer.url) as load:
        for replica in replicas:
            assert replica.stop() == 0
            restart(replica, balancer)
        load.go_on()
    report("rolling restart of four replicas", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}


def test_a_new_version_takes_over_on_every_replica_and_no_request_fails(
    replicas: list[Replica], balancer: Balancer, models: Path
) -> None:
    with calling(balancer.url) as load:
        put(models, "digits", "2", MLP)
        until(lambda: all(version(replica) == "2" for replica in replicas))
        swapped = time.monotonic()
        load.go_on(10)
    report("hot swap on four replicas", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}
    assert {request.detail for request in load.requests} == {"1", "2"}
    assert {request.detail for request in load.requests if request.sent > swapped} == {"2"}


def version(replica: Replica) -> str:
    """The version that a replica serves."""
    answer = httpx.post(f"{replica.url}/predict", content=load_test_set()[0][0].tobytes(), headers=PIXELS, timeout=HANG)
    found: str = answer.json()["version"]
    return found


def test_a_slow_replica_gets_fewer_requests(replicas: list[Replica], balancer: Balancer) -> None:
    """The slow replica stands still for half of the time."""
    before = balancer.sent()
    with calling(balancer.url, callers=16) as load, standing_still(replicas[0]):
        load.go_on(40)
    report("one of four replicas at half speed", load)
    assert load.counts() == {"answered": len(load.requests), "refused": 0, "lost": 0}
    sent = {name: count - before[name] for name, count in balancer.sent().items()}
    others = [count for name, count in sent.items() if name != "replica1"]
    print(f"requests by replica: {sent}")  # noqa: T201
    assert sent["replica1"] < min(others)


@contextmanager
def standing_still(replica: Replica) -> Iterator[None]:
    """Stop and continue a replica again and again for the time of the block."""
    end = Event()

    def run() -> None:
        while not end.is_set():
            replica.process.send_signal(signal.SIGSTOP)
            end.wait(PULSE)
            replica.process.send_signal(signal.SIGCONT)
            end.wait(PULSE)

    thread = Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_a_refusal_of_a_replica_passes_through_with_its_retry_after(models: Path, tmp_path: Path) -> None:
    key, entry = make_key("caller", frozenset({Scope.predict}), requests_per_minute=1)
    (tmp_path / "keys.toml").write_text(entry)
    flags = ("--models", str(models), "--model", "digits", "--api-key-file", str(tmp_path / "keys.toml"))
    content, headers = load_test_set()[0][0].tobytes(), PIXELS | {"authorization": f"Bearer {key}"}
    with running_replicas(1, *flags, ODENET_GRACE_SECONDS="0") as replicas, balancing(replicas, tmp_path) as balancer:
        answers = [
            httpx.post(f"{balancer.url}/predict", content=content, headers=headers, timeout=HANG) for _ in range(2)
        ]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60


def test_without_a_replica_callers_get_503_and_when_to_ask_again(models: Path, tmp_path: Path) -> None:
    flags = ("--models", str(models), "--model", "digits")
    with running_replicas(1, *flags) as replicas, balancing(replicas, tmp_path) as balancer:
        replicas[0].stop(signal.SIGKILL)
        answer = httpx.post(
            f"{balancer.url}/predict", content=load_test_set()[0][0].tobytes(), headers=PIXELS, timeout=HANG
        )
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 503
