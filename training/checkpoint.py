"""Checkpoints: a safetensors file with the tensors of a fit, and with the rest as JSON in its header. No pickle."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

State = dict[str, Any]
"""A nested dictionary, as `state_dict()` returns it, of tensors and of values that JSON can represent."""


class CheckpointError(Exception):
    """The checkpoint is missing or damaged; the message names the file."""


def save(path: Path, state: State) -> None:
    """Write a checkpoint atomically: at every moment the path holds the complete old or the complete new checkpoint."""
    tensors: dict[str, Tensor] = {}
    rest = _split(state, "", tensors)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"state": json.dumps(rest)})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path, device: torch.device) -> State:
    """Read a checkpoint.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            rest = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        state: State = _join(rest, tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read ({error})") from error
    return state


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Convert a value to JSON types. Each tensor is added to `tensors` and replaced by a reference to it."""
    if isinstance(value, Tensor):
        while path in tensors:  # the key "a/b" has the same path as the key "b" in "a"
            path += "'"
        tensors[path] = value.detach().clone().contiguous()
        return {"$tensor": path}
    if isinstance(value, dict):
        return {"$items": [[key, _split(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        return {key: _join(item, tensors) for key, item in value["$items"]}
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    return value
