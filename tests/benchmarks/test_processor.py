"""The name of the processor that a benchmark ran on."""

import platform

from benchmarks.processor import processor


def test_the_name_has_the_architecture_and_the_vectors() -> None:
    *name, machine, vectors = processor().split(", ")
    assert machine == platform.machine()
    assert vectors
    assert all(name)
