"""The card: what nvidia-smi reports about it. On a CPU there is nothing to report."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.serving.resident import MEGABYTE, resident
from benchmarks.serving.servers import Server

INTERVAL_MS = 100
"""Milliseconds between two readings of the power."""

MEBIBYTE = 2**20


def query(*fields: str) -> list[str]:
    """Values of the first card.

    Args:
        fields: names of ``nvidia-smi --help-query-gpu``.

    Raises:
        OSError: there is no nvidia-smi.
        subprocess.CalledProcessError: nvidia-smi fails.
    """
    done = subprocess.run(_command(*fields), capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    return [value.strip() for value in done.stdout.splitlines()[0].split(",")]


def memory_megabytes(device: str, server: Server) -> float:
    """The memory that is in use: on CUDA of the whole device, on a CPU of the processes of a server, in 1e6 bytes."""
    if device == "cuda":
        return int(query("memory.used")[0]) * MEBIBYTE / MEGABYTE
    return sum(resident(process) for process in server.processes()) / MEGABYTE


@dataclass
class Power:
    """The power that a card takes in a period of time.

    Attributes:
        watts: the readings.
    """

    watts: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """The mean of the readings in watts; None without readings."""
        return fmean(self.watts) if self.watts else None


@contextmanager
def power(device: str) -> Iterator[Power]:
    """Read the power of the card until the end of the block. The readings are there after the block."""
    found = Power()
    if device != "cuda":
        yield found
        return
    arguments = [*_command("power.draw"), "-lms", str(INTERVAL_MS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield found
        finally:
            process.terminate()
            output, _ = process.communicate()
            found.watts += [float(line) for line in output.splitlines() if line.strip().replace(".", "", 1).isdigit()]


def _command(*fields: str) -> list[str]:
    return ["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
