"""The processors that this process may use: of the machine, and of the container's quota."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_processors(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """How many processors this process may keep busy, at least 1.

    That is the number that it may run on, or, if that is less, what the CPU quotas of its control groups come to,
    rounded down: a thread more would be held back for part of each period.

    Args:
        cgroups: where control groups are mounted (Linux, documentation of cgroup-v2, "cpu.max"; or of cgroup-v1,
            "cpu.cfs_quota_us").
        own: the file that names this process's group in each hierarchy.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups(cgroups, own) if (quota := _quota(group)) is not None]
    return max(1, int(min([affinity, *quotas])))


def _groups(cgroups: Path, own: Path) -> set[Path]:
    """The folders of this process's groups and of all above them, whose quotas bound theirs."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return set()
    folders = {cgroups, cgroups / "cpu"}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            root = cgroups / "cpu" if controllers else cgroups
            folder = root / path.lstrip("/")
            folders |= {folder, *(parent for parent in folder.parents if parent.is_relative_to(root))}
    return folders


def _quota(group: Path) -> float | None:
    """Processors that a group may keep busy; None where it has no limit of its own."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
