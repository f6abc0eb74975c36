"""Lets all graphs share one file of weights: their initialisers refer to the safetensors file and hold no copy."""

import json
import struct
from pathlib import Path

import onnx
from onnx import TensorProto
from torch import Tensor

SMALLEST = 1024
"""An initialiser with fewer bytes stays in its graph."""


def share(model: onnx.ModelProto, weights: Path, tensors: dict[str, Tensor]) -> None:
    """Replace each initialiser that equals a tensor of the weights file by a reference to this file.

    ONNX reads external data as raw little-endian bytes at an offset, and safetensors stores tensors in this layout.

    Args:
        model: the graph; it is changed in place.
        weights: the safetensors file, in the folder that the graph will be written to.
        tensors: the tensors in the file, by name.
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
    """The offset of each tensor's bytes in the file.

    The file starts with eight bytes that hold the length of the header. The header and the tensors follow.
    """
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
