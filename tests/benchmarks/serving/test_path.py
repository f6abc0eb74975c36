"""The table of a request's processor time, from samples of the call stack."""

from collections import Counter

import pytest

from benchmarks.serving.path import Sampled, main, part, read_stacks, table

RUN = "Session.run (onnxruntime/capi/onnxruntime_inference_collection.py:549)"
STEP = "Scheduler.iterate (service/engine/scheduler.py:100)"


def test_samples_count_for_the_innermost_function() -> None:
    lines = [f"main (a.py:1);{STEP};{RUN} 30", f"main (a.py:1);{STEP} 10", f"{RUN} 2"]
    assert read_stacks(lines) == {RUN: 32, STEP: 10}


def test_a_waiting_thread_of_a_pool_does_not_count() -> None:
    lines = ["_bootstrap (threading.py:995);_worker (concurrent/futures/thread.py:69) 400", f"{STEP} 1"]
    assert read_stacks(lines) == {STEP: 1}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (STEP, "service/engine"),
        ("create_app (service/app.py:51)", "service"),
        (RUN, "onnxruntime"),
        ("attempt (models/backends/flight.py:89)", "models"),
        ("wait (threading.py:320)", "threading"),
        ("__init__ (<string>:2)", "<string>"),
    ],
)
def test_the_part_of_a_function_is_its_room_or_its_package(function: str, expected: str) -> None:
    assert part(function) == expected


def test_the_samples_of_a_load_divide_the_processor_time_of_a_request() -> None:
    sampled = Sampled("32 connections", Counter({RUN: 30, STEP: 10}), microseconds=1000.0)
    assert sampled.by_part() == {"onnxruntime": 750, "service/engine": 250}
    assert sampled.by_function() == {RUN: 750, STEP: 250}


def test_the_table_lists_the_costliest_rows_first() -> None:
    columns = [("one", Counter({"cheap": 1, "dear": 1000})), ("two", Counter({"cheap": 3, "middling": 40}))]
    assert table("part", columns, most=2).splitlines() == [
        "| part | one | two |",
        "| --- | --- | --- |",
        "| dear | 1,000 | 0 |",
        "| middling | 0 | 40 |",
        "| all | 1,001 | 43 |",
    ]


@pytest.mark.nightly
@pytest.mark.system
def test_the_program_prints_the_time_by_part_and_by_function(capsys: pytest.CaptureFixture[str]) -> None:
    """Linux must allow py-spy to trace the service (ptrace(2))."""
    main(seconds=1, rounds=1)
    printed = capsys.readouterr().out
    assert "| part, µs per request | odenet-mnist, 1 connection | odenet-mnist, 32 connections |" in printed
    for name in ("onnxruntime", "service/engine", "Session.run_with_iobinding ("):
        assert f"\n| {name}" in printed
