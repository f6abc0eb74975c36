"""The ONNX graphs of a network: one for each of its parts, and one with the whole solve and its adaptive loop."""

import logging
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import onnx
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, DeduplicateInitializersPass
from torch import Tensor, nn

from models.artifact import DYNAMICS, HEAD, STEM, step_file
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.solvers.controller import per_row
from models.solvers.methods import METHODS
from models.solvers.solve import MAX_STEPS, Outcome, equal_steps, judge
from models.solvers.step import Step
from training.export.placeholder import Placeholder, insert

EXAMPLE_ROWS = 3
"""The number of rows of the example that is traced; the graphs accept any number of rows."""

LARGEST_CONSTANT = 1 << 20
"""Equal constants of a graph with at most this many elements are merged into one."""


def parts(network: Network, methods: Iterable[str]) -> dict[str, onnx.ModelProto]:
    """Export the parts of a network, for a host program that runs the solve loop.

    Args:
        network: a fitted network on the CPU.
        methods: the methods whose step is exported; ignored for a network without an ODE.

    Returns:
        The graphs by file name: stem and head, and for an ODE-Net also the dynamics and one step of each method.
    """
    images, value = _example()
    z = network.stem(images)
    ends = {STEM: export(network.stem, {"image": images}, ["z"]), HEAD: export(network.head, {"z": z}, ["logits"])}
    if not isinstance(network, ODENet):
        return ends
    step_inputs = {"z": z, "k1": z, "t": value, "h": value, "rtol": value, "atol": value}
    step_outputs = ["z_next", "k1_next", "t_next", "h_next", "error", "accepted"]
    dynamics = export(network.dynamics, {"t": value, "z": z}, ["derivative"])
    steps = {
        step_file(method): insert(dynamics, export(Step(Placeholder(), METHODS[method]), step_inputs, step_outputs))
        for method in methods
    }
    return ends | {DYNAMICS: dynamics} | steps


def whole_solve(network: ODENet, method: str) -> onnx.ModelProto:
    """Export one graph from images and tolerances to logits, which contains the adaptive loop.

    Args:
        network: a fitted network on the CPU.
        method: an adaptive method.
    """
    images, value = _example()
    inputs = {"image": images, "rtol": value, "atol": value}
    return export(WholeSolve(network, method), inputs, list(WholeAnswer._fields))


def _example() -> tuple[Tensor, Tensor]:
    """Example inputs for the tracing: images, and one value per image."""
    return torch.zeros(EXAMPLE_ROWS, 28, 28, dtype=torch.uint8), torch.full((EXAMPLE_ROWS,), 0.1)


class WholeAnswer(NamedTuple):
    """The outputs of `solve.onnx`. Each output except the logits has one value per row."""

    logits: Tensor
    nfe: Tensor
    steps: Tensor
    rejected: Tensor
    error_estimate: Tensor
    outcome: Tensor


class WholeSolve(nn.Module):
    """Stem, adaptive loop and head in one module. The loop becomes an ONNX ``Loop``.

    The batch of a graph has a fixed size, so a row that has ended stays there unchanged until the last row has ended.

    Args:
        network: the network.
        method: an adaptive method.
    """

    def __init__(self, network: ODENet, method: str) -> None:
        super().__init__()
        self.network = network
        self.step: Step = network.step(method)

    def forward(self, images: Tensor, rtol: Tensor, atol: Tensor) -> WholeAnswer:
        """Classify images ``[rows, 28, 28]`` of uint8 at the tolerances ``[rows]``."""
        z = self.network.stem(images)
        t, error = torch.zeros_like(rtol), torch.zeros_like(rtol)
        h = self.step.t1 / equal_steps(self.step.tableau, rtol, atol)
        steps = torch.zeros_like(rtol, dtype=torch.int64)
        rejected, outcome = torch.zeros_like(steps), torch.full_like(steps, int(Outcome.max_steps))
        k1 = self.step.dynamics(t, z) if self.step.tableau.fsal else torch.zeros_like(z)

        def unfinished(attempts: Tensor, outcome: Tensor, *_: Tensor) -> Tensor:
            return (attempts < MAX_STEPS) & (outcome == int(Outcome.max_steps)).any()

        def attempt(attempts: Tensor, outcome: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            z, k1, t, h, error, steps, rejected = state
            tried = self.step(z, k1, t, h, rtol, atol)
            going = outcome == int(Outcome.max_steps)
            row_going = per_row(going, z)
            return (
                attempts + 1,
                torch.where(going, judge(tried, self.step.t1), outcome),
                torch.where(row_going, tried.z, z),
                torch.where(row_going, tried.k1, k1),
                torch.where(going, tried.t, t),
                torch.where(going, tried.h, h),
                torch.where(going & tried.accepted, error + tried.error, error),
                steps + going.to(torch.int64),
                rejected + (going & ~tried.accepted).to(torch.int64),
            )

        state = (torch.zeros((), dtype=torch.int64), outcome, z, k1, t, h, error, steps, rejected)
        _, outcome, z, _, _, _, error, steps, rejected = torch.while_loop(unfinished, attempt, state)
        nfe = self.step.tableau.evaluations(steps)
        return WholeAnswer(self.network.head(z), nfe, steps, rejected, error, outcome)


def export(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> onnx.ModelProto:
    """Export a module as an ONNX graph for any number of rows.

    Args:
        module: what to export.
        inputs: example inputs by the names of the graph's inputs, in the order of the module's arguments.
        outputs: the names of the graph's outputs.
    """
    rows = torch.export.Dim("rows")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter itself uses deprecated functions
        program = torch.onnx.export(
            module.eval(),
            tuple(example.clone() for example in inputs.values()),  # the same tensor twice would become one input
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple({0: rows} for _ in inputs),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    tidy = onnx_ir.passes.Sequential(
        ClearMetadataAndDocStringPass(),  # removes paths of the exporting machine
        DeduplicateInitializersPass(size_limit=LARGEST_CONSTANT),  # each stage contains its own copy of the time maps
    )
    return onnx_ir.to_proto(tidy(program.model).model)
