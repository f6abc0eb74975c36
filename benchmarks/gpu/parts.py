"""The parts of the check by name, in the order in which they run: the most important first."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.gpu.check import Check
from benchmarks.gpu.costs import costs
from benchmarks.gpu.ends import ends
from benchmarks.gpu.environment import environment
from benchmarks.gpu.fitting import fitting
from benchmarks.gpu.invariance import invariance
from benchmarks.gpu.kernels import kernels
from benchmarks.gpu.loads import loads
from benchmarks.gpu.marked import marked
from benchmarks.gpu.memory import memory
from benchmarks.gpu.networks import networks
from benchmarks.gpu.report import Report
from benchmarks.gpu.solvers import solvers

MINUTES = 8.0
"""The duration of a check. The limits of the parts add up to more, because most parts need less than their limit."""


class Part(NamedTuple):
    """A part of the check.

    Attributes:
        run: measures, and adds what it finds to the report.
        seconds: after this time the part is stopped, in a check of `MINUTES`. A longer check gives it more time.
    """

    run: Callable[[Check, Report], None]
    seconds: float


PARTS = {
    "environment": Part(environment, 30),
    "marked": Part(marked, 90),
    "networks": Part(networks, 90),
    "loads": Part(loads, 150),
    "memory": Part(memory, 100),
    "fitting": Part(fitting, 120),
    "ends": Part(ends, 60),
    "invariance": Part(invariance, 40),
    "costs": Part(costs, 40),
    "solvers": Part(solvers, 60),
    "kernels": Part(kernels, 40),
}
