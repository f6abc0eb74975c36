"""One file of weights for every graph: initialisers that refer into the safetensors file instead of holding a copy."""

import json
import struct
from pathlib import Path

import onnx
from onnx import TensorProto
from torch import Tensor

SMALLEST = 1024
"""Bytes below which an initialiser stays in its graph."""


def share(model: onnx.ModelProto, weights: Path, tensors: dict[str, Tensor]) -> None:
    """Replace each initialiser that equals one of the weights by a reference into their file.

    ONNX reads external data as raw little-endian bytes at an offset, and that is how safetensors lays tensors out.

    Args:
        model: changed in place.
        weights: the safetensors file, in the folder that the graph will be written to.
        tensors: what the file holds.
    """
    by_content = {tensor.numpy().tobytes(): name for name, tensor in tensors.items()}
    offsets = _offsets(weights)
    for initialiser in model.graph.initializer:
        name = by_content.get(initialiser.raw_data)
        if name is None or len(initialiser.raw_data) < SMALLEST:
            continue
        location = {"location": weights.name, "offset": offsets[name], "length": len(initialiser.raw_data)}
        initialiser.ClearField("raw_data")
        initialiser.data_location = TensorProto.EXTERNAL
        for key, value in location.items():
            initialiser.external_data.add(key=key, value=str(value))


def _offsets(weights: Path) -> dict[str, int]:
    """Where in the file the bytes of each tensor begin: after eight bytes of length and the header of that length."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
