"""The times of the graphs of an artifact."""

import numpy as np
import onnx
import pytest

from benchmarks.kernels import Part, operators, parts, times
from models.artifact import Artifact
from models.backends.onnx import OnnxBackend
from models.solvers.settings import SolverSettings
from training.data import Dataset

ROWS = 4


@pytest.fixture
def measured(artifact: Artifact, few_digits: Dataset) -> list[Part]:
    return parts(artifact, few_digits.validation.images[:ROWS].numpy())


def test_the_parts_are_those_of_an_answer_at_the_default_solver(
    artifact: Artifact, measured: list[Part], default_solver: SolverSettings
) -> None:
    assert [part.name for part in measured] == ["stem", "head", "dynamics", f"step-{default_solver.method}"]
    backend = OnnxBackend(artifact.folder, [default_solver.method])
    stem, head, dynamics, step = measured
    z, k1, t, h, rtol, atol = step.inputs
    assert np.array_equal(z, backend.stem(stem.inputs[0]))
    assert np.array_equal(k1, dynamics.outputs()[0])
    assert np.array_equal(head.outputs()[0], backend.head(z))
    assert np.array_equal(step.outputs()[0], backend.step(default_solver.method)(z, k1, t, h, rtol, atol).z)


def test_a_network_without_an_ode_has_only_a_stem_and_a_head(mlp_artifact: Artifact, few_digits: Dataset) -> None:
    images = few_digits.validation.images[:ROWS].numpy()
    assert [part.name for part in parts(mlp_artifact, images)] == ["stem", "head"]


def test_a_time_is_measured_for_each_number_of_rows(measured: list[Part]) -> None:
    taken = times(measured[0], rows=(1, ROWS), rounds=2, seconds=0.01)
    assert len(taken) == 2
    assert min(taken) > 0


def test_the_operators_of_a_graph_are_listed_with_the_slowest_first(measured: list[Part]) -> None:
    for part in measured:
        found = operators(part, rows=ROWS, runs=3)
        nodes = onnx.load(part.path, load_external_data=False).graph.node
        kinds = {operator.kind: operator.nodes for operator in found}
        assert kinds["LayerNormalization"] == sum(node.op_type == "LayerNormalization" for node in nodes)
        assert found == sorted(found, key=lambda operator: -operator.per_image)
