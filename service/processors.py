"""The processors: how many this process may use, and which of its threads use them first."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_native_id

CGROUPS = Path("/sys/fs/cgroup")

NICENESS = 10
"""By how much a thread that gives way is nicer than the rest of its process (Linux, sched(7)). It then gets a tenth of
a processor that another thread wants. With a higher value it would sometimes hold Python's lock for long while it waits
for a processor; with none, it would slow down the requests."""


def give_way() -> None:
    """Let all other threads use the processors before this thread does."""
    if sys.platform == "linux":  # on other systems, the call would apply to the whole process
        process = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, get_native_id(), process + NICENESS)


@contextmanager
def starting_batch_threads() -> Iterator[None]:
    """Let the threads that start in the block interrupt no other thread when they wake up.

    They get Linux's policy SCHED_BATCH (sched(7)). A thread inherits the policy of the thread that starts it. On other
    systems, and where a sandbox forbids the policy, the threads are ordinary ones.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def usable_processors(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """How many processors this process may keep busy, at least 1.

    The number is the smaller one of two: the processors on which the process may run, and the CPU quotas of its
    control groups, rounded down. We round down because the system would throttle one more thread in each period.

    Args:
        cgroups: the folder where control groups are mounted (Linux, documentation of cgroup-v2, "cpu.max", or of
            cgroup-v1, "cpu.cfs_quota_us").
        own: the file that names the group of this process in each hierarchy.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in _groups(cgroups, own) if (quota := _quota(group)) is not None]
    return max(1, int(min([affinity, *quotas])))


def _groups(cgroups: Path, own: Path) -> set[Path]:
    """The folders of the groups of this process and of all their parents, whose quotas also apply."""
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
    """How many processors a group may keep busy; None if the group has no limit of its own."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
