"""The processor time of threads, from /proc."""

import os
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.serving.threads import Role, ThreadTime, family, parse, processor_seconds

TICKS = os.sysconf("SC_CLK_TCK")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15)
COUNTS = st.integers(0, 2**63)


def line(name: str, user: int, system: int) -> str:
    """A line of /proc/PID/stat: number, name, state, ten fields, user time, system time, and 37 more fields."""
    return f"12 ({name}) S {' '.join(['7'] * 10)} {user} {system} {' '.join(['8'] * 37)}\n"


@given(NAMES, COUNTS, COUNTS)
@example("uvloop) S 1 (x", 3, 4)
def test_name_and_time_are_read_for_any_name(name: str, user: int, system: int) -> None:
    assert parse(line(name, user, system)) == ThreadTime(name, (user + system) / TICKS)


@given(NAMES, st.integers(0, 14))
def test_a_line_that_is_cut_off_is_refused(name: str, fields: int) -> None:
    head, closed, rest = line(name, 1, 2).rpartition(")")
    cut = head + closed + " ".join(rest.split()[: max(0, fields - 2)])
    with pytest.raises(ValueError, match="not a line of /proc/PID/stat"):
        parse(cut)


@given(st.text(st.characters(exclude_characters="()")))
def test_a_line_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a line of /proc/PID/stat"):
        parse(text)


def test_the_time_of_this_process_is_split_by_thread() -> None:
    named, stop = Event(), Event()

    def compute() -> None:
        Path("/proc/thread-self/comm").write_text("engine-0")
        while time.thread_time() < 5 / TICKS:
            pass
        named.set()
        stop.wait()

    thread = Thread(target=compute)
    thread.start()
    named.wait()
    seconds = processor_seconds([os.getpid()])
    stop.set()
    thread.join()
    assert seconds[Role.engine] >= 4 / TICKS
    assert sum(seconds.values()) <= time.process_time() + 1 / TICKS
    assert seconds[Role.loop] > 0


def test_a_process_that_has_ended_has_no_time() -> None:
    ended = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(ended, 0)
    assert sum(processor_seconds([ended]).values()) == 0
    assert family(ended) == [ended]
