"""Part: the time of a solve by batch size, beside torchdiffeq and torchode on the same device.

All solve the same f from the same states by dopri5 at the same tolerance. torchdiffeq has one step size for the whole
batch; torchode and this project have one for each row.
"""

from collections.abc import Callable
from importlib import import_module
from statistics import fmean

import torch
from torch import Tensor, nn

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.gpu.solving import flight_for, seconds_of
from models.backends.torch import TorchBackend
from models.solvers.settings import SolverSettings
from models.solvers.solve import solve

TOLERANCE = 1e-3
SOLVER = SolverSettings.adaptive("dopri5", TOLERANCE)
T1 = 1.0


class Counted:
    """f, with the number of its calls."""

    def __init__(self, dynamics: nn.Module) -> None:
        self.calls = 0
        self._dynamics = dynamics

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        """Evaluate f."""
        self.calls += 1
        derivative: Tensor = self._dynamics(t, z)
        return derivative


Solve = Callable[[], float]
"""Solves a batch from its states at t = 0, and returns the mean number of evaluations of f."""


def solvers(check: Check, report: Report) -> None:
    """Measure each solver at each number of rows. A solver that is not installed is reported as an error."""
    backend = check.backend(check.artifact)
    if not isinstance(backend, TorchBackend):
        raise TypeError("the backend is not torch")
    contenders = {
        "in flight, as served": _in_flight,
        "solve loop": _loop,
        "torchdiffeq": _torchdiffeq,
        "torchode": _torchode,
    }
    for name, contender in contenders.items():
        try:
            for rows in check.scale.rows:
                z = backend.stem(check.images(rows))
                run = contender(backend, z)
                nfe = run()
                seconds = seconds_of(run, backend.clock, check.scale.runs)
                report.row(
                    f"solves by {SOLVER}",
                    solver=name,
                    rows=rows,
                    NFE=nfe,
                    ms=1e3 * seconds,
                    us_per_row=1e6 * seconds / rows,
                )
        except Exception as error:  # noqa: BLE001 (the other solvers are measured all the same)
            report.claim(f"{name} can be measured", "yes", f"{type(error).__name__}: {error}", holds=False)


def _in_flight(backend: TorchBackend, z: Tensor) -> Solve:
    """Steps of a flight; on CUDA, captured graphs."""
    flight = flight_for(backend, SOLVER, len(z))
    starts, arguments, limits = list(z), [SOLVER.arguments] * len(z), [None] * len(z)

    def run() -> float:
        flight.resume(starts, arguments, limits)
        evaluations = []
        while flight.rows:
            if slots := flight.attempt():
                evaluations += flight.leave(slots).nfe.tolist()
        return fmean(evaluations)

    return run


def _loop(backend: TorchBackend, z: Tensor) -> Solve:
    """The solve loop of training and evaluation."""
    step = backend.step(SOLVER.method)
    return lambda: float(solve(step, z, rtol=TOLERANCE, atol=TOLERANCE).nfe.double().mean())


def _torchdiffeq(backend: TorchBackend, z: Tensor) -> Solve:
    odeint = import_module("torchdiffeq").odeint
    times, counted = torch.tensor([0.0, T1], device=z.device), Counted(backend.step(SOLVER.method).dynamics)

    def run() -> float:
        counted.calls = 0
        odeint(
            lambda t, state: counted(t.expand(len(state)), state),
            z,
            times,
            rtol=TOLERANCE,
            atol=TOLERANCE,
            method="dopri5",
        )
        return counted.calls

    return run


def _torchode(backend: TorchBackend, z: Tensor) -> Solve:
    torchode = import_module("torchode")
    dynamics = backend.step(SOLVER.method).dynamics
    term = torchode.ODETerm(lambda t, flat: dynamics(t, flat.view_as(z)).flatten(1))
    controller = torchode.IntegralController(atol=TOLERANCE, rtol=TOLERANCE, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
    rows = z.new_zeros(len(z))
    problem = torchode.InitialValueProblem(y0=z.flatten(1), t_start=rows, t_end=rows + T1)
    return lambda: float(solver.solve(problem).stats["n_f_evals"].double().mean())
