"""A worker is killed or cannot start again while callers send requests."""

import os
import re
import resource
import shutil
import signal
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.servers import free_port, suspended
from models.artifact import newest
from tests.artifacts import MLP, put
from tests.digits import load_test_set
from tests.end_to_end.callers import PIXELS, calling, descendants, ports_of, workers
from tests.end_to_end.rpc_callers import rpc_process, rpc_processes
from tests.serving import FITTED, Running, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the model that loads the fastest. A test may change the folder."""
    source = newest(FITTED / "mlp")
    assert source is not None
    shutil.copytree(source, tmp_path / "mlp" / source.name)
    return tmp_path


def test_a_killed_worker_is_replaced_and_only_its_own_requests_fail(models: Path) -> None:
    with (
        running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service,
        calling(service, callers=8) as callers,
    ):
        victim, other = workers(service)
        until(lambda: ports_of(victim) | ports_of(other) == {caller.port for caller in callers.callers})
        its_own = ports_of(victim)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(service)) == 3)
        callers.answered(2)  # also callers that waited at the socket of the killed worker
        assert {port for port, _ in callers.lost} <= its_own
        assert len(callers.lost) <= len(its_own)
        assert f"Worker process [{victim}] was killed by SIGKILL; another is started now" in "".join(service.log)
        callers.stop.set()
        callers.end()
        assert {port for port, _ in callers.lost} <= its_own
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0


def test_a_worker_that_cannot_restart_does_not_affect_the_others(models: Path) -> None:
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


def test_connections_wait_while_no_worker_serves(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        for started in (2, 4):
            until(lambda n=started: len(workers(service)) == n)  # type: ignore[misc]
            for process in workers(service)[-2:]:
                os.kill(process, signal.SIGKILL)
        until(lambda: "".join(service.log).count("was killed by SIGKILL; another is started in 1 s") == 2)
        assert [asked(service) for _ in range(4)] == [200] * 4


def test_the_other_workers_accept_the_connections_of_a_suspended_worker(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        victim, _ = workers(service)
        with suspended(service.process.pid):  # the supervisor replaces no worker yet
            os.kill(victim, signal.SIGSTOP)
            assert [asked(service) for _ in range(20)] == [200] * 20
            assert len(workers(service)) == 2
        until(
            lambda: f"Worker process [{victim}] was killed by SIGKILL; another is started now" in "".join(service.log)
        )
        until(lambda: len(workers(service)) == 3)
        assert [asked(service) for _ in range(20)] == [200] * 20


def test_the_service_exits_when_no_worker_can_restart(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        next(models.glob("mlp/*/stem.onnx")).write_bytes(b"no graph")
        for process in workers(service):
            os.kill(process, signal.SIGKILL)
        assert service.process.wait(HANG) == 3


NO_FILES = 3
"""So few files may be open that no more can be opened."""


def fork_server(service: Running) -> int:
    """The process that forks the workers."""
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in descendants(service.process.pid)}
    return next(child for child, line in lines.items() if b"forkserver" in line)


def test_workers_are_replaced_after_the_fork_server_has_failed(models: Path) -> None:
    """The fork server ends if it cannot fork. Nobody then knows how its workers do, so they are replaced too."""
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        resource.prlimit(fork_server(service), resource.RLIMIT_NOFILE, (NO_FILES, NO_FILES))
        os.kill(workers(service)[0], signal.SIGKILL)
        until(lambda: "No worker process can be started; the next attempt is in" in "".join(service.log))
        until(lambda: len(workers(service)) >= 3)
        assert [asked(service) for _ in range(4)] == [200] * 4
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0


def test_workers_stay_and_are_replaced_later_if_no_other_can_be_started(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        supervisor, before = service.process.pid, workers(service)
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (NO_FILES, limits[1]))
        service.process.send_signal(signal.SIGHUP)
        until(lambda: re.search(r"and those after it stay: .*Too many open files", "".join(service.log)))
        assert [asked(service) for _ in range(4)] == [200] * 4
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        until(lambda: "No worker process can be started; the next attempt is in 1 s" in "".join(service.log))
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        until(lambda: len(workers(service)) > 2)
        assert [asked(service) for _ in range(4)] == [200] * 4


def test_workers_exit_when_the_supervisor_dies(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        service.process.send_signal(signal.SIGKILL)
        until(lambda: refused(service))


def refused(service: Running) -> bool:
    try:
        return asked(service) != 200
    except httpx.ConnectError:
        return True


def asked(service: Running) -> int:
    """The status of an answer over a new connection, which any worker may accept."""
    content = load_test_set()[0][0].tobytes()
    return httpx.post(
        f"{service.url}/predict", content=content, headers=PIXELS, trust_env=False, timeout=HANG
    ).status_code


@pytest.mark.parametrize("everywhere", [False, True], ids=["to the service", "to all its processes, by a terminal"])
def test_sighup_replaces_each_worker_and_no_request_fails(models: Path, everywhere: bool) -> None:
    flags = ("--models", str(models), "--model", "mlp", "--grpc-port", str(free_port()))
    with running(*flags, ODENET_WORKERS="2") as service, calling(service) as callers:
        address, before = service.grpc_address(workers=2), workers(service)
        over_rpc = rpc_processes(address)
        for process in descendants(service.process.pid) if everywhere else []:
            os.kill(process, signal.SIGHUP)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: rpc_process(address) and "".join(service.log).count("Finished server process") == 2)
        callers.answered(2)
        assert callers.lost == []
        assert len(workers(service)) == 4
        ended = re.findall(r"Finished server process \[(\d+)\]", "".join(service.log))
        assert {int(process) for process in ended} == set(before)
        assert rpc_processes(address).isdisjoint(over_rpc)


@pytest.mark.parametrize("line", ["Started server process", "startup complete"], ids=["starting", "started"])
def test_sigterm_during_sighup_stops_the_service_cleanly(models: Path, line: str) -> None:
    """SIGTERM arrives when the first new worker runs and the old workers still run."""
    with running("--models", str(models), "--model", "mlp", "--grace-seconds", "1", ODENET_WORKERS="2") as service:
        service.process.send_signal(signal.SIGHUP)
        until(lambda: "".join(service.log).count(line) >= 3)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0
    log = "".join(service.log)
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert log.count("Finished server process") >= 2


def test_a_worker_is_replaced_even_if_a_newer_version_is_damaged(models: Path) -> None:
    """A new version arrived while the service was running, and was then damaged. The version before it is intact."""
    put(models, "mlp", "2", MLP)
    with running("--models", str(models), "--model", "mlp", ODENET_WORKERS="2") as service:
        (models / "mlp" / "2" / "README.md").write_text("altered")
        for victim in workers(service):
            os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers(service)) == 4)
        assert asked(service) == 200
        assert httpx.get(f"{service.url}/models", trust_env=False, timeout=HANG).json()[0]["version"] == "1"
    assert "mlp version 2 is skipped" in "".join(service.log)


def test_sighup_stops_a_service_of_one_process_cleanly(models: Path) -> None:
    with running("--models", str(models), "--model", "mlp", "--grace-seconds", "0") as service:
        assert asked(service) == 200
        service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(HANG) == 0
    assert "Finished server process" in "".join(service.log)
