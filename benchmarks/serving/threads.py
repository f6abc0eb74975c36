"""The processor time of a server by thread, from Linux's /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

ENGINE = "engine"
"""The start of the name of a thread that computes."""


class Role(StrEnum):
    """What a thread does."""

    loop = "event loop"
    engine = "engine thread"
    other = "other threads"


class ThreadTime(NamedTuple):
    """The name of a thread, and its processor time so far in seconds."""

    name: str
    seconds: float


def parse(stat: str) -> ThreadTime:
    """Parse the content of ``/proc/PID/stat`` or ``/proc/PID/task/TID/stat``.

    The second field is the name in brackets. The name may contain spaces and brackets. The fields 14 and 15 are the
    user time and the system time in clock ticks. Source: the manual page proc_pid_stat(5).

    Raises:
        ValueError: the text does not have this format.
    """
    head, closed, rest = stat.rpartition(")")
    _, opened, name = head.partition("(")
    fields = rest.split()
    if not (opened and closed) or len(fields) < 13:
        raise ValueError(f"not a line of /proc/PID/stat: {stat!r}")
    return ThreadTime(name, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def family(process: int) -> list[int]:
    """A process and its descendants. A process that has ended has no descendants."""
    members = [process]
    for parent in members:
        for children in Path("/proc", str(parent), "task").glob("*/children"):
            with suppress(OSError):
                members.extend(int(child) for child in children.read_text().split())
    return members


def processor_seconds(processes: Iterable[int]) -> dict[Role, float]:
    """The processor time of some processes so far, by the role of the thread.

    The main thread of a process runs the event loop. A thread whose name starts with `ENGINE` computes. The rest of the
    time of a process belongs to other threads, which include the threads that have ended.
    """
    seconds = dict.fromkeys(Role, 0.0)
    for process in processes:
        folder, known = Path("/proc", str(process)), dict.fromkeys(Role, 0.0)
        try:
            for task in (folder / "task").iterdir():
                with suppress(OSError):  # the thread has ended
                    thread = parse((task / "stat").read_text())
                    known[_role(thread.name, is_main=task.name == folder.name)] += thread.seconds
            total = parse((folder / "stat").read_text()).seconds
        except OSError:  # the process has ended
            continue
        known[Role.other] = max(0.0, total - known[Role.loop] - known[Role.engine])
        for role in Role:
            seconds[role] += known[role]
    return seconds


def _role(name: str, *, is_main: bool) -> Role:
    if is_main:
        return Role.loop
    return Role.engine if name.startswith(ENGINE) else Role.other
