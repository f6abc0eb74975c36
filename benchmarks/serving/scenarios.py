"""The scenarios by name, in the order of their measurement."""

from collections.abc import Callable

from benchmarks.serving.bench import Bench
from benchmarks.serving.escalation import escalated
from benchmarks.serving.flood import flood
from benchmarks.serving.memory import memory
from benchmarks.serving.overload import ten, twice
from benchmarks.serving.report import Findings
from benchmarks.serving.speed import offered, one, saturated, workers
from benchmarks.serving.tolerances import deadline, mixed

Scenario = Callable[[Bench], Findings]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (one, saturated, escalated, offered, mixed, memory, twice, ten, flood, workers, deadline)
}
