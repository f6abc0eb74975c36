"""The memory of a process, from Linux's /proc."""

from pathlib import Path

MEGABYTE = 1e6


def resident(process: int) -> int:
    """The bytes of a process that are in memory, from Linux's `/proc/PID/status`."""
    for line in Path("/proc", str(process), "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return 1024 * int(value.removesuffix("kB"))
    raise ValueError(f"process {process} has no VmRSS, because it has ended")
