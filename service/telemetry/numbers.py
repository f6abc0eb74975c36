"""The numbers behind the metrics, in memory that the worker processes of one service share.

Counting adds to an element of an array: nothing is locked, formatted or sent. A process that is asked for the
metrics reads the numbers of all processes. The numbers of a process that has died remain in its file.

If the disk is full, a new series is counted in the memory of its process alone: the other processes do not report it.
"""

import errno
import json
import logging
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeAlias

SEGMENT = 64 * 1024
"""The file of a process grows by this many bytes at a time. The numbers of one series fit into so many bytes."""

FOLDER = "metrics"
"""The folder of the files, in the folder that the worker processes share."""

LIVE, DEAD, NUMBERS = ".live", ".dead", ".numbers"
"""Each process has a file of numbers, and an index that says what the numbers are. The name of the index says whether
the process lives."""

logger = logging.getLogger(__name__)

Numbers: TypeAlias = "memoryview[float]"
"""Float64 numbers, which other processes may read at any time."""


class Series(NamedTuple):
    """The numbers of one metric for one combination of labels, in one process.

    Attributes:
        metric: the name of the metric.
        labels: the values of its labels.
        numbers: the numbers.
        live: whether the process lives.
    """

    metric: str
    labels: tuple[str, ...]
    numbers: Numbers
    live: bool = True


class SharedNumbers:
    """The numbers of this process, and a view of those of the others. Only one thread may change a number.

    Any thread may add a series.

    Args:
        shared: the folder that the worker processes share; None for a process that serves alone.
    """

    def __init__(self, shared: Path | None) -> None:
        self._folder = None if shared is None else shared / FOLDER
        if self._folder is not None:
            self._folder.mkdir(exist_ok=True)
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"  # the system has reused the id of a dead process
        self._own: list[Series] = []
        self._logged = False
        self._size = 0
        self._free = memoryview(b"").cast("d")
        self._adding = Lock()

    def add(self, metric: str, labels: tuple[str, ...], count: int) -> Numbers:
        """Add a series of a number of zeros, which this process changes from now on."""
        if self._folder is not None:
            try:
                return self._add_shared(self._folder / self._name, metric, labels, count)
            except OSError as error:
                if not self._logged:
                    logger.warning("some metrics of this process are not shared with the other processes: %s", error)
                self._logged = True
        numbers = memoryview(bytearray(8 * count)).cast("d")
        self._own.append(Series(metric, labels, numbers))
        return numbers

    def _add_shared(self, path: Path, metric: str, labels: tuple[str, ...], count: int) -> Numbers:
        """Add a series to the files of this process.

        Raises:
            OSError: the disk is full.
        """
        with self._adding:
            if len(self._free) < count:
                self._free = self._new_segment(path.with_suffix(NUMBERS))
            at = self._size // 8 - len(self._free)
            _append(path.with_suffix(LIVE), json.dumps([metric, labels, at, count]).encode() + b"\n")
            numbers, self._free = self._free[:count], self._free[count:]
            return numbers

    def read(self) -> Iterator[Series]:
        """The series of all processes, the dead ones included."""
        yield from self._own
        if self._folder is None:
            return
        for path in self._folder.glob(f"*{NUMBERS}"):
            index, live = _index(path)
            lines = index.rpartition("\n")[0].splitlines()  # a last line without an end is being written
            numbers = memoryview(path.read_bytes()).cast("d")
            for line in lines:
                metric, labels, at, count = json.loads(line)
                yield Series(metric, tuple(labels), numbers[at : at + count], live)

    def _new_segment(self, path: Path) -> Numbers:
        """Make the file of numbers longer, and map the new part.

        We write the zeros, so that the disk has room for them. Without room, counting would end the process by SIGBUS.
        """
        _append(path, bytes(SEGMENT))
        self._size += SEGMENT
        with path.open("r+b") as file:
            return memoryview(mmap.mmap(file.fileno(), SEGMENT, offset=self._size - SEGMENT)).cast("d")


def _index(numbers: Path) -> tuple[str, bool]:
    """The index of a process, and whether the process lives. The index is empty if the process has yet to write it.

    The process may die at any time. So we look for the index of a live process first.

    Args:
        numbers: the file with the numbers of the process.
    """
    for suffix in (LIVE, DEAD):
        with suppress(FileNotFoundError):
            return numbers.with_suffix(suffix).read_text(), suffix == LIVE
    return "", False


def _append(path: Path, content: bytes) -> None:
    """Append to a file, the whole content or nothing.

    Raises:
        OSError: the disk is full.
    """
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        if file.write(content) != len(content):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def mark_dead(shared: Path, process: int) -> None:
    """Record that a process has died. Its gauges no longer count, and its counters still do.

    Args:
        shared: the folder that the worker processes share.
        process: the id of the process.
    """
    for index in (shared / FOLDER).glob(f"{process}-*{LIVE}"):
        index.rename(index.with_suffix(DEAD))
