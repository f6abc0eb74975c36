"""Traces the dynamics of a network once, although the step of every method evaluates it several times.

A step is traced with a placeholder for the dynamics. The graph of the dynamics then replaces each placeholder. This
takes half the time of tracing the dynamics at every evaluation, and the graphs compute the same, bit for bit.
"""

import onnx
import torch
from onnx import helper, inliner
from torch import Tensor, nn

DOMAIN, NAME = "odenet", "dynamics"


class Placeholder(nn.Module):
    """Stands for the dynamics of a network. An export writes it as one node, which `insert` replaces."""

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """The node for f at the times ``[rows]`` and states ``[rows, ...]``; its value is undefined."""
        return torch.onnx.ops.symbolic(f"{DOMAIN}::{NAME}", (t, z), dtype=z.dtype, shape=z.shape, version=1)


def insert(dynamics: onnx.ModelProto, graph: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with each placeholder replaced by the graph of the dynamics.

    Args:
        dynamics: the graph of the dynamics, with the inputs t and z.
        graph: a graph with placeholders.
    """
    inner, model = dynamics.graph, onnx.ModelProto()
    model.CopyFrom(graph)
    weights = [tensor.name for tensor in inner.initializer]
    for tensor in inner.initializer:
        model.graph.initializer.add().CopyFrom(tensor)
        model.graph.initializer[-1].name = _prefixed(tensor.name)
    for node in model.graph.node:
        if (node.domain, node.op_type) == (DOMAIN, NAME):
            node.input.extend(map(_prefixed, weights))
    inputs, outputs = [value.name for value in inner.input], [value.name for value in inner.output]
    function = helper.make_function(DOMAIN, NAME, [*inputs, *weights], outputs, inner.node, dynamics.opset_import)
    model.functions.append(function)
    inlined: onnx.ModelProto = inliner.inline_local_functions(model)
    del inlined.opset_import[:]
    inlined.opset_import.extend(dynamics.opset_import)
    return inlined


def _prefixed(name: str) -> str:
    """The name of an initialiser of the dynamics in another graph, where the plain name may be in use."""
    return f"{NAME}.{name}"
