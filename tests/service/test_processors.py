"""How many processors this process may use, by files as Linux shows them."""

import os
from pathlib import Path

import pytest

from service.processors import usable_processors

PLENTY = "6400000 100000"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of eight processors."""
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


def test_on_this_machine_there_is_one_at_least() -> None:
    assert 1 <= usable_processors() <= 8


def test_without_control_groups_it_is_what_it_may_run_on(cgroups: Path) -> None:
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
def test_version_2_has_a_quota_and_a_period_in_one_file(cgroups: Path, quota: str, processors: int) -> None:
    write(cgroups / "box" / "cpu.max", quota)
    assert usable(cgroups, "0::/box") == processors


def test_in_a_container_the_group_is_mounted_as_the_root(cgroups: Path) -> None:
    write(cgroups / "cpu.max", "300000 100000")
    assert usable(cgroups, "0::/") == 3
    assert usable(cgroups, "0::/kubepods/pod1/container") == 3, "the path outside is not seen inside"


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
def test_version_1_has_a_file_for_each(cgroups: Path, own: str, quota: str, processors: int) -> None:
    write_v1(cgroups / "cpu" / "docker" / "box", quota, "100000")
    assert usable(cgroups, own) == processors


def test_version_1_in_a_container_is_mounted_as_the_root_too(cgroups: Path) -> None:
    write_v1(cgroups / "cpu", "300000", "100000")
    assert usable(cgroups, "4:cpu,cpuacct:/docker/box") == 3


def test_quotas_of_what_is_no_processor_do_not_count(cgroups: Path) -> None:
    write_v1(cgroups / "cpu" / "other", "100000", "100000")
    assert usable(cgroups, "4:cpuset:/other\n3:memory:/other") == 8


def test_a_quota_without_a_period_is_none(cgroups: Path) -> None:
    write(cgroups / "cpu" / "box" / "cpu.cfs_quota_us", "100000")
    assert usable(cgroups, "4:cpu:/box") == 8


def test_there_are_never_more_than_it_may_run_on(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(cgroups / "cpu.max", "400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    assert usable(cgroups, "0::/") == 1
