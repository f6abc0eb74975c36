"""The memory of a process of the service that serves every shipped model."""

from pathlib import Path

from benchmarks.serving.bench import Bench
from benchmarks.serving.report import Findings, Goal
from benchmarks.serving.requests import Kind
from benchmarks.serving.resident import MEGABYTE, resident
from benchmarks.serving.servers import ours

MEMORY_GOAL = 250.0
"""The greatest number of megabytes that a process with six models may use."""

CONNECTIONS = 16
MODELS = Path(__file__).parents[2] / "models" / "fitted"


def memory(bench: Bench) -> Findings:
    """Measure the resident memory of a process after requests to each model of the folder."""
    names = sorted(folder.name for folder in MODELS.iterdir() if folder.is_dir())
    with bench.servers(ours("--workers", "1")) as (server,):
        for name in names:
            bench.closed(server, CONNECTIONS, Kind(name, f"model={name}"), seconds=bench.seconds / len(names))
        reached = max(resident(process) for process in server.processes()) / MEGABYTE
    claim = f"memory of a process with {len(names)} models, MB"
    return Findings(goals=[Goal("memory", claim, MEMORY_GOAL, reached, is_minimum=False)])
