"""Counters, gauges and histograms: what one process counts, and what several processes count together."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.instruments import Counter, Gauge, Histogram, Instrument, Merged
from service.telemetry.numbers import SEGMENT, SharedNumbers, mark_dead
from tests.full_disk import files_up_to


def merged(instrument: Instrument[Any], numbers: SharedNumbers) -> Merged:
    """The numbers of a metric in all processes."""
    together: Merged = {}
    for series in numbers.read():
        if series.metric == instrument.name:
            instrument.merge(together, series)
    return together


def samples(instrument: Instrument[Any], numbers: SharedNumbers) -> dict[tuple[str, ...], float]:
    """The samples of a metric, by the suffix of their name and the values of their labels."""
    return {
        (sample.name.removeprefix(instrument.name), *sample.labels.values()): sample.value
        for sample in instrument.family(merged(instrument, numbers)).samples
    }


def test_a_counter_without_labels_is_0_before_its_first_event() -> None:
    numbers = SharedNumbers(None)
    counter = Counter(numbers, "events", "Events.")
    assert samples(counter, numbers) == {("_total",): 0}
    counter.of().add()
    counter.of().add(2.5)
    assert samples(counter, numbers) == {("_total",): 3.5}


def test_each_combination_of_labels_is_counted_by_itself() -> None:
    numbers = SharedNumbers(None)
    counter = Counter(numbers, "events", "Events.", ["kind"])
    assert samples(counter, numbers) == {}
    for kind in ("a", "b", "a"):
        counter.of(kind).add()
    assert samples(counter, numbers) == {("_total", "a"): 2, ("_total", "b"): 1}


@given(st.lists(st.floats(0, 10)))
def test_a_bucket_counts_the_values_up_to_its_bound(values: list[float]) -> None:
    numbers, bounds = SharedNumbers(None), (0.5, 1.0, 2.5)
    histogram = Histogram(numbers, "values", "Values.", [], bounds)
    for value in values:
        histogram.of().observe(value)
    found = samples(histogram, numbers)
    for bound in bounds:
        assert found["_bucket", str(bound)] == sum(value <= bound for value in values)
    assert found["_bucket", "+Inf"] == found["_count",] == len(values)
    assert found["_sum",] == pytest.approx(sum(values))


def test_the_numbers_of_several_processes_are_added_and_those_of_a_dead_one_stay_except_its_gauges(
    tmp_path: Path,
) -> None:
    processes = [SharedNumbers(tmp_path) for _ in range(3)]
    for number, process in enumerate(processes, 1):
        Counter(process, "events", "Events.").of().add(number)
        Gauge(process, "present", "Present.").of().set(number)
        Gauge(process, "latest", "Latest.", (), max).of().set(number)
    other = SharedNumbers(tmp_path)

    def totals() -> list[float]:
        instruments = (Counter(other, "events", ""), Gauge(other, "present", ""), Gauge(other, "latest", "", (), max))
        return [merged(each, other)[()][0] for each in instruments]

    assert totals() == [6, 6, 3]
    mark_dead(tmp_path, os.getpid())
    assert totals() == [6, 0, 3]


def test_a_process_may_add_more_series_than_fit_into_a_segment(tmp_path: Path) -> None:
    numbers, many = SharedNumbers(tmp_path), 3 * SEGMENT // 8
    counter = Counter(numbers, "events", "Events.", ["number"])
    for number in range(0, many, 100):
        counter.of(str(number)).add(number)
    histogram = Histogram(numbers, "values", "Values.", ["kind"], range(100))
    for kind in map(str, range(many // 100)):
        histogram.of(kind).observe(7)
    assert merged(counter, numbers) == {(str(number),): [number] for number in range(0, many, 100)}
    assert all(values[0] == 7 and sum(values[1:]) == 1 for values in merged(histogram, numbers).values())


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_series_that_threads_add_at_the_same_time_are_counted_apart(tmp_path: Path) -> None:
    numbers, threads, kinds = SharedNumbers(tmp_path), 4, 1000
    counters = [Counter(numbers, f"events_{thread}", "Events.", ["kind"]) for thread in range(threads)]
    together = Barrier(threads)

    def count(thread: int) -> None:
        together.wait()
        for kind in range(kinds):
            counters[thread].of(str(kind)).add(kinds * thread + kind)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(threads)))
    for thread, counter in enumerate(counters):
        assert merged(counter, numbers) == {(str(kind),): [kinds * thread + kind] for kind in range(kinds)}


def test_a_series_that_another_process_is_writing_is_not_read(tmp_path: Path) -> None:
    numbers = SharedNumbers(tmp_path)
    Counter(numbers, "events", "Events.").of().add()
    (index,) = tmp_path.glob("*/*.live")
    with index.open("a") as file:
        file.write('["half", [')
    assert [series.metric for series in numbers.read()] == ["events"]


def test_the_disk_has_room_for_all_numbers(tmp_path: Path) -> None:
    """Otherwise counting would end the process by SIGBUS once the disk is full."""
    Counter(SharedNumbers(tmp_path), "events", "Events.").of().add()
    (file,) = tmp_path.glob("*/*.numbers")
    assert file.stat().st_size == SEGMENT
    assert file.stat().st_blocks * 512 >= SEGMENT


@pytest.mark.parametrize("room", [0, 50, 1000, SEGMENT, SEGMENT + 1000])
def test_a_full_disk_loses_no_count_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    """The series for which there is no room are known to their own process alone."""
    numbers, other, kinds = SharedNumbers(tmp_path), SharedNumbers(tmp_path), [f"kind-{n}" for n in range(3000)]
    counter = Counter(numbers, "events", "Events.", ["kind"])
    with files_up_to(room):
        for kind in kinds:
            counter.of(kind).add()
    counter.of("after").add()
    assert merged(counter, numbers) == {(kind,): [1] for kind in [*kinds, "after"]}
    assert ("after",) in merged(counter, other), "there is room again"
    assert len(caplog.records) == 1
    assert "not shared with the other processes" in caplog.text
