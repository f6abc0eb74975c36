"""Checkpoints: loading returns the saved state, saving is atomic, and no file contains a pickle."""

import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from tests.examples import examples
from training.checkpoint import CheckpointError, State, load, save

CPU = torch.device("cpu")


def equal(one: Any, other: Any) -> bool:
    """Whether a loaded state equals a saved state; a saved tuple is loaded as a list."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return {
        "epoch": 3,
        "network": {"conv.weight": torch.randn(2, 3), "bias": torch.zeros(0)},
        "optimiser": {
            "state": {0: {"step": torch.tensor(4.0), "mean": torch.randn(3)}, 11: {"step": torch.tensor(5)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "foreach": None, "fused": True, "params": [0, 11]}],
        },
        "half": torch.randn(3).bfloat16(),
        "transposed": torch.randn(3, 4).T,
        "empty": {},
        "nothing": [],
        "text": "größer",
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def test_loading_returns_the_saved_state(path: Path, state: State) -> None:
    save(path, state)
    assert equal(state, load(path, CPU))


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.integers(-9, 9).map(torch.tensor),
    st.lists(st.floats(width=32, allow_nan=False), max_size=3).map(torch.tensor),
)
KEYS = st.one_of(st.integers(0, 3), st.text("ab/'$.0123", max_size=3), st.just("$tensor"), st.just("$items"))
STATES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=4,
)


@examples(3)
@given(state=STATES)
@example(state={"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}})
@example(state={1: torch.tensor(1), "1": torch.tensor(2)})
def test_loading_returns_any_nested_state(tmp_path_factory: pytest.TempPathFactory, state: dict[Any, Any]) -> None:
    """The key "a/b" differs from the key "b" in "a", and the key 1 differs from the key "1"."""
    path = tmp_path_factory.mktemp("any") / "checkpoint.safetensors"
    save(path, state)
    assert equal(state, load(path, CPU))


def test_a_restored_optimiser_continues_exactly(path: Path) -> None:
    """The state of an optimiser has integer keys."""
    torch.manual_seed(0)
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimiser, restored = (torch.optim.AdamW(part.parameters(), lr=0.1) for part in (layer, other))
    x = torch.randn(5, 3)

    def step(part: nn.Linear, by: torch.optim.Optimizer) -> None:
        by.zero_grad()
        part(x).square().sum().backward()
        by.step()

    step(layer, optimiser)
    save(path, {"layer": layer.state_dict(), "optimiser": optimiser.state_dict()})
    loaded = load(path, CPU)
    other.load_state_dict(loaded["layer"])
    restored.load_state_dict(loaded["optimiser"])
    step(layer, optimiser)
    step(other, restored)
    assert_close(other.weight, layer.weight, rtol=0, atol=0)


def test_tensors_that_share_memory_are_saved_separately(path: Path) -> None:
    """A safetensors file cannot represent shared memory."""
    weight = torch.arange(6.0)
    save(path, {"a": weight, "b": weight, "part": weight[2:4]})
    loaded = load(path, CPU)
    assert loaded["a"].tolist() == loaded["b"].tolist() == weight.tolist()
    assert loaded["part"].tolist() == [2, 3]


def test_a_checkpoint_contains_no_pickle(path: Path, state: State) -> None:
    """The file consists of a length, a JSON header and the bytes of the tensors, and of nothing else."""
    save(path, state)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    json.loads(header.pop("__metadata__")["state"])
    sizes = {"F32": 4, "I64": 8, "BF16": 2}
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - 8 - length
    for entry in header.values():
        begin, end = entry["data_offsets"]
        assert end - begin == sizes[entry["dtype"]] * torch.Size(entry["shape"]).numel()


@pytest.mark.parametrize("wrong", [{"epoch": object()}, {"layer": torch.eye(2).to_sparse()}])
def test_a_failed_save_keeps_the_old_checkpoint(path: Path, state: State, wrong: State) -> None:
    save(path, state)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        save(path, {**state, **wrong})
    assert path.read_bytes() == before
    assert equal(state, load(path, CPU))


def test_a_save_that_cannot_write_keeps_the_old_checkpoint(path: Path, state: State) -> None:
    save(path, state)
    path.with_suffix(".partial").mkdir()
    with pytest.raises(Exception, match=r"partial|directory"):
        save(path, {"epoch": 4})
    assert equal(state, load(path, CPU))


def test_a_save_leaves_no_other_file(path: Path, state: State) -> None:
    save(path, state)
    save(path, state)
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 (the test compares names)


def assert_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: "):
        load(path, CPU)


def test_the_error_names_a_missing_checkpoint(path: Path) -> None:
    assert_refused(path)


def test_the_error_names_a_folder_in_place_of_a_checkpoint(path: Path) -> None:
    path.mkdir()
    assert_refused(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.9, 0.999])
def test_the_error_names_a_truncated_checkpoint(path: Path, state: State, share: float) -> None:
    save(path, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x04K\x01.", bytes(100), b"\xff" * 100])
def test_other_bytes_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert_refused(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"other": "1"},
        {"state": "{"},
        {"state": '{"$tensor": "elsewhere"}'},
        {"state": '{"$items": [["a"]]}'},
        {"state": '{"$items": [[["a"], 1]]}'},
        {"state": '{"a": 1}'},
    ],
)
def test_tensors_without_a_valid_state_are_refused(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    assert_refused(path)
