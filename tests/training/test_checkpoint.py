"""Checkpoints: what is saved is what is loaded, whole or not at all, and nothing is pickled."""

import json
import os
import re
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from training.checkpoint import CheckpointError, State, load, save

CPU = torch.device("cpu")


def equal(one: Any, other: Any) -> bool:
    """Whether two states are the same; a tuple comes back as a list."""
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


def test_what_is_saved_is_what_is_loaded(path: Path, state: State) -> None:
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


@settings(max_examples=150, deadline=None, derandomize=True)
@given(state=STATES)
@example(state={"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}})
@example(state={1: torch.tensor(1), "1": torch.tensor(2)})
def test_any_nested_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[Any, Any]) -> None:
    """Whatever its keys look like: "a/b" is another place than b in a, and 1 another key than "1"."""
    path = tmp_path_factory.mktemp("any") / "checkpoint.safetensors"
    save(path, state)
    assert equal(state, load(path, CPU))


def test_a_fit_goes_on_from_it(path: Path) -> None:
    """The real thing: an optimiser's state, whose keys are integers, restored into another optimiser."""
    torch.manual_seed(0)
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimiser, theirs = (torch.optim.AdamW(part.parameters(), lr=0.1) for part in (layer, other))
    x = torch.randn(5, 3)

    def step(part: nn.Linear, by: torch.optim.Optimizer) -> None:
        by.zero_grad()
        part(x).square().sum().backward()
        by.step()

    step(layer, optimiser)
    save(path, {"layer": layer.state_dict(), "optimiser": optimiser.state_dict()})
    loaded = load(path, CPU)
    other.load_state_dict(loaded["layer"])
    theirs.load_state_dict(loaded["optimiser"])
    step(layer, optimiser)
    step(other, theirs)
    assert_close(other.weight, layer.weight, rtol=0, atol=0)


def test_saving_copies(path: Path) -> None:
    """Tensors that share their memory are each saved, as a file of safetensors cannot say that they do."""
    weight = torch.arange(6.0)
    save(path, {"a": weight, "b": weight, "part": weight[2:4]})
    loaded = load(path, CPU)
    assert loaded["a"].tolist() == loaded["b"].tolist() == weight.tolist()
    assert loaded["part"].tolist() == [2, 3]


def test_nothing_is_pickled(path: Path, state: State) -> None:
    """The file is a length, a JSON header, and the tensors' bytes, to the last byte."""
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
def test_a_save_that_fails_leaves_the_old_one(path: Path, state: State, wrong: State) -> None:
    save(path, state)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        save(path, {**state, **wrong})
    assert path.read_bytes() == before
    assert equal(state, load(path, CPU))


def test_a_save_that_cannot_write_leaves_the_old_one(path: Path, state: State) -> None:
    save(path, state)
    path.with_suffix(".partial").mkdir()
    with pytest.raises(Exception, match=r"partial|directory"):
        save(path, {"epoch": 4})
    assert equal(state, load(path, CPU))


def test_a_save_leaves_no_other_file(path: Path, state: State) -> None:
    save(path, state)
    save(path, state)
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 (names are what is compared)


def refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: "):
        load(path, CPU)


def test_a_missing_checkpoint_is_named(path: Path) -> None:
    refused(path)


def test_a_folder_is_no_checkpoint(path: Path) -> None:
    path.mkdir()
    refused(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_named(path: Path, state: State, share: float) -> None:
    save(path, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\x80\x04K\x01.", bytes(100), b"\xff" * 100])
def test_other_bytes_are_no_checkpoint(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path)


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
def test_tensors_without_a_state_are_no_checkpoint(path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    refused(path)
