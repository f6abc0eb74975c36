"""The table of the benchmark of several replicas."""

from dataclasses import replace

from benchmarks.serving.fleet import table
from benchmarks.serving.results import summarise
from tests.benchmarks.serving.test_results import result


def test_a_ratio_is_the_median_over_the_rounds_of_the_ratio_in_a_round() -> None:
    base = summarise(result([1e-3], [200]))
    one = [replace(base, throughput=10.0, p99=p99) for p99 in (1.0, 10.0, 100.0)]
    several = [replace(base, throughput=40.0, p99=p99) for p99 in (3.0, 20.0, 100.0)]
    *_, line = table({("one", "load"): one, ("several", "load"): several}, "one").splitlines()
    assert line.startswith("| several | load | 40 | ")
    assert line.endswith(" | 20 | 0 | 4 | 2 |")
