"""The processor that a benchmark ran on is named."""

import platform

from benchmarks.processor import processor


def test_the_processor_is_named_with_its_architecture_and_vectors() -> None:
    *name, machine, vectors = processor().split(", ")
    assert machine == platform.machine()
    assert vectors
    assert all(name)
