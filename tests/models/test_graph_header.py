"""The domains of the operators of an ONNX graph are found, wherever they are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto

from models import graph_header
from tests.serving import FITTED

SHIPPED = sorted(FITTED.glob("*/*/*.onnx"))
DOMAINS = st.sampled_from(["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "elsewhere"])


def within(graphs: list[GraphProto]) -> GraphProto:
    """A graph of nodes, each with another graph as an attribute."""
    outer = GraphProto(doc_string="com.microsoft")
    for graph in graphs:
        outer.node.add(op_type="Loop").attribute.add(name="body").g.CopyFrom(graph)
    return outer


GRAPHS = st.recursive(
    st.builds(lambda domain: GraphProto(node=[NodeProto(op_type="Add", domain=domain)]), DOMAINS),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(within),
    max_leaves=8,
)


def domains(graph: GraphProto) -> set[str]:
    """The domains of all nodes, read by onnx."""
    inner = (domains(attribute.g) for node in graph.node for attribute in node.attribute)
    return {node.domain for node in graph.node}.union(*inner)


@given(graph=GRAPHS, imported=DOMAINS)
def test_operators_of_other_domains_are_refused(
    tmp_path_factory: pytest.TempPathFactory, graph: GraphProto, imported: str
) -> None:
    model = ModelProto(ir_version=9, producer_name="somebody", graph=graph)
    model.opset_import.add(domain=imported, version=1)
    path = tmp_path_factory.mktemp("graphs") / "stem.onnx"
    path.write_bytes(model.SerializeToString())
    others = sorted((domains(graph) | {imported}) - {"", "ai.onnx"})
    if not others:
        graph_header.check(path)
        return
    with pytest.raises(ValueError, match=rf"^it uses operators of the domain {', '.join(others)}; only"):
        graph_header.check(path)


def test_shipped_graphs_are_accepted() -> None:
    for path in SHIPPED:
        graph_header.check(path)


@given(st.data())
def test_any_bytes_are_accepted_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SHIPPED)).read_bytes()[:5_000]
    path = tmp_path_factory.mktemp("graphs") / "stem.onnx"
    at = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=20)) + whole[at:])
    try:
        graph_header.check(path)
    except ValueError as error:
        assert "operators of the domain" in str(error)  # noqa: PT017


def test_graphs_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    message = b""
    for number in 2_000 * (6, 5, 1):  # a graph in an attribute of a node
        message = bytes([8 * number + 2]) + length(message) + message
    (tmp_path / "stem.onnx").write_bytes(bytes([8 * 7 + 2]) + length(message) + message)
    with pytest.raises(ValueError, match="nested too deeply"):
        graph_header.check(tmp_path / "stem.onnx")


def length(message: bytes) -> bytes:
    """The length of a message, as a number of variable length."""
    groups, left = [], len(message)
    while left > 0x7F:
        groups.append(0x80 | left & 0x7F)
        left >>= 7
    return bytes([*groups, left])
