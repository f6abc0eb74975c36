"""How many processors this process may use, by the control group files of Linux, and the policy of its threads."""

import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from service.processors import starting_batch_threads, usable_processors

PLENTY = "6400000 100000"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")


def usable(cgroups: Path, own: str) -> int:
    write(cgroups.parent / "own", own)
    return usable_processors(cgroups, cgroups.parent / "own")


def write_v1(group: Path, quota: str, period: str) -> None:
    write(group / "cpu.cfs_quota_us", quota)
    write(group / "cpu.cfs_period_us", period)


def test_the_number_on_this_machine_is_at_least_one() -> None:
    assert 1 <= usable_processors() <= 8


def test_without_control_groups_the_affinity_gives_the_number(cgroups: Path) -> None:
    assert usable_processors(cgroups, cgroups / "missing") == 8
    assert usable_processors(cgroups / "missing", cgroups / "missing") == 8
    assert usable(cgroups, "0::/") == 8


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("30000 10000", 3),
        ("max 100000", 8),
        (PLENTY, 8),
        ("", 8),
        ("nonsense", 8),
        ("1 0", 8),
    ],
)
def test_cgroup_v2_has_the_quota_and_the_period_in_one_file(cgroups: Path, quota: str, processors: int) -> None:
    write(cgroups / "box" / "cpu.max", quota)
    assert usable(cgroups, "0::/box") == processors


def test_in_a_container_the_group_is_mounted_as_the_root(cgroups: Path) -> None:
    write(cgroups / "cpu.max", "300000 100000")
    assert usable(cgroups, "0::/") == 3
    assert usable(cgroups, "0::/kubepods/pod1/container") == 3, "the path outside the container does not exist inside"


@pytest.mark.parametrize(
    ("outer", "inner", "processors"), [("2", "4", 2), ("4", "2", 2), ("max", "3", 3), ("3", "max", 3)]
)
def test_the_least_quota_of_nested_groups_counts(cgroups: Path, outer: str, inner: str, processors: int) -> None:
    for group, quota in ((cgroups / "outer", outer), (cgroups / "outer" / "between" / "inner", inner)):
        write(group / "cpu.max", "max 100000" if quota == "max" else f"{quota}00000 100000")
    write(cgroups / "outer" / "between" / "sibling" / "cpu.max", "100000 100000")
    assert usable(cgroups, "0::/outer/between/inner") == processors


@pytest.mark.parametrize(("quota", "processors"), [("200000", 2), ("150000", 1), ("10000", 1), ("-1", 8)])
@pytest.mark.parametrize("own", ["4:cpu,cpuacct:/docker/box\n3:memory:/docker/box", "2:cpu:/docker/box\n0::/"])
def test_cgroup_v1_has_the_quota_and_the_period_in_two_files(
    cgroups: Path, own: str, quota: str, processors: int
) -> None:
    write_v1(cgroups / "cpu" / "docker" / "box", quota, "100000")
    assert usable(cgroups, own) == processors


def test_in_a_container_the_group_of_cgroup_v1_is_also_mounted_as_the_root(cgroups: Path) -> None:
    write_v1(cgroups / "cpu", "300000", "100000")
    assert usable(cgroups, "4:cpu,cpuacct:/docker/box") == 3


def test_quotas_of_other_controllers_do_not_count(cgroups: Path) -> None:
    write_v1(cgroups / "cpu" / "other", "100000", "100000")
    assert usable(cgroups, "4:cpuset:/other\n3:memory:/other") == 8


def test_a_quota_without_a_period_is_ignored(cgroups: Path) -> None:
    write(cgroups / "cpu" / "box" / "cpu.cfs_quota_us", "100000")
    assert usable(cgroups, "4:cpu:/box") == 8


def test_the_number_is_never_above_the_affinity(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cgroups / "cpu.max", "400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert usable(cgroups, "0::/") == 1


def policy_of_a_new_thread() -> int:
    policies = list[int]()
    thread = Thread(target=lambda: policies.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return policies[0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no SCHED_BATCH")
def test_threads_that_start_in_the_block_interrupt_no_other_thread() -> None:
    with starting_batch_threads():
        assert policy_of_a_new_thread() == os.SCHED_BATCH
    assert policy_of_a_new_thread() == os.SCHED_OTHER


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no SCHED_BATCH")
def test_in_a_sandbox_that_forbids_the_policy_threads_are_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    with starting_batch_threads():
        assert policy_of_a_new_thread() == os.SCHED_OTHER
