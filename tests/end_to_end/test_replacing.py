"""A process of several is killed, or cannot start again, while callers ask the service."""

import os
import re
import shutil
import signal
from pathlib import Path

import httpx
import pytest

from models.artifact import newest
from tests.artifacts import MLP, put
from tests.digits import load_test_set
from tests.end_to_end.callers import PIXELS, calling, ports_of, workers
from tests.serving import FITTED, Running, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the model that is loaded soonest, to be changed at will."""
    source = newest(FITTED / "mlp")
    assert source is not None
    shutil.copytree(source, tmp_path / "mlp" / source.name)
    return tmp_path


def test_a_killed_process_is_replaced_and_only_its_own_requests_fail(models: Path) -> None:
    with (
        running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service,
        calling(service, callers=8) as callers,
    ):
        victim, other = workers(service)
        until(lambda: ports_of(victim) | ports_of(other) == {caller.port for caller in callers.callers})
        its_own = ports_of(victim)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(service)) == 3)
        callers.answered(2)  # those too who had to wait for the next process, at the socket of the one before
        assert {port for port, _ in callers.lost} <= its_own
        assert len(callers.lost) <= len(its_own)
        assert f"Worker process [{victim}] was killed by SIGKILL; another is started now" in "".join(service.log)
        callers.stop.set()
        callers.end()
        assert {port for port, _ in callers.lost} <= its_own
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0


def test_a_process_that_cannot_start_again_leaves_the_others_alone(models: Path) -> None:
    graph = next(models.glob("mlp/*/stem.onnx"))
    whole = graph.read_bytes()
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        graph.write_bytes(b"no graph")
        os.kill(workers(service)[0], signal.SIGKILL)
        until(lambda: re.search(r"ended with status 3; another is started in 1 s", "".join(service.log)))
        assert "stem.onnx: altered" in "".join(service.log)
        assert [asked(service) for _ in range(20)] == [200] * 20
        until(lambda: re.search(r"ended with status 3; another is started in 2 s", "".join(service.log)))
        assert [asked(service) for _ in range(20)] == [200] * 20
        graph.write_bytes(whole)
        until(lambda: len(workers(service)) == 3)
        assert [asked(service) for _ in range(20)] == [200] * 20
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0


def test_the_service_ends_where_no_process_can_start_again(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        next(models.glob("mlp/*/stem.onnx")).write_bytes(b"no graph")
        for process in workers(service):
            os.kill(process, signal.SIGKILL)
        assert service.process.wait(HANG) == 3


def test_processes_end_when_their_parent_is_gone(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        service.process.kill()
        until(lambda: refused(service))


def refused(service: Running) -> bool:
    try:
        return asked(service) != 200
    except httpx.ConnectError:
        return True


def asked(service: Running) -> int:
    """The status of an answer over a connection of its own, which any of the processes may take."""
    content = load_test_set()[0][0].tobytes()
    return httpx.post(
        f"{service.url}/predict", content=content, headers=PIXELS, trust_env=False, timeout=HANG
    ).status_code


def test_a_hangup_replaces_each_process_and_nothing_is_lost(models: Path) -> None:
    with (
        running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service,
        calling(service) as callers,
    ):
        before = workers(service)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: len(workers(service)) == 4 and "".join(service.log).count("Finished server process") == 2)
        callers.answered(2)
        assert callers.lost == []
        ended = re.findall(r"Finished server process \[(\d+)\]", "".join(service.log))
        assert {int(process) for process in ended} == set(before)


@pytest.mark.parametrize("line", ["Started server process", "startup complete"], ids=["starting", "started"])
def test_sigterm_during_a_hangup_ends_all_in_good_order(models: Path, line: str) -> None:
    """It comes when the first of the new processes is there, and the old ones are yet to end."""
    with running("--models", str(models), "--model", "mlp", "--grace-seconds", "1", ODENET_WORKERS="2") as service:
        service.process.send_signal(signal.SIGHUP)
        until(lambda: "".join(service.log).count(line) == 3)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0
    log = "".join(service.log)
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert log.count("Finished server process") >= 2


def test_a_process_is_replaced_whatever_has_become_of_the_folder(models: Path) -> None:
    """A version that has come while the service runs is altered, and the one before is still whole."""
    put(models, "mlp", "2", MLP)
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        (models / "mlp" / "2" / "README.md").write_text("altered")
        for victim in workers(service):
            os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(service)) == 4)
        assert asked(service) == 200
        assert httpx.get(f"{service.url}/models", trust_env=False).json()[0]["version"] == "1"
    assert "mlp version 2 is skipped" in "".join(service.log)


def test_a_hangup_ends_a_service_of_one_process_in_good_order(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", "--grace-seconds", "0") as service:
        assert asked(service) == 200
        service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(HANG) == 0
    assert "Finished server process" in "".join(service.log)
