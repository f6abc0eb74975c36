"""The header of a file of weights: which tensors it holds, and where. The check needs neither torch nor safetensors."""

import math
from pathlib import Path
from typing import Annotated

from annotated_types import Len
from pydantic import BaseModel, Field, NonNegativeInt, TypeAdapter, ValidationError
from pydantic_core import from_json

MOST_HEADER_BYTES = 2**20

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""The bytes of a number, by its type."""


class Tensor(BaseModel):
    """A tensor in the file: its type, its shape, and the first byte of its numbers and the byte after the last."""

    dtype: str = Field(pattern=f"^({'|'.join(ITEM_BYTES)})$")
    shape: Annotated[list[NonNegativeInt], Len(max_length=8)]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


Tensors = TypeAdapter(dict[str, Tensor])


def check(path: Path) -> None:
    """Check that the header of a file of weights is valid, and that the file has the numbers that the header lists.

    The format is safetensors: the length of the header in 8 bytes, little-endian; the header as JSON; the numbers.

    Raises:
        OSError: the file cannot be read.
        ValueError: the header is not valid.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        whole = path.stat().st_size
        rest = whole - 8 - size
        if size > MOST_HEADER_BYTES or rest < 0:
            limit = f"the limit is {MOST_HEADER_BYTES:,}"
            raise ValueError(f"its header would have {size:,} bytes; {limit}, and the file has {whole:,}")
        content = file.read(size)
    try:
        header = from_json(content)
        if isinstance(header, dict):
            header.pop("__metadata__", None)
        tensors = Tensors.validate_python(header)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"its header is not valid ({'.'.join(map(str, first['loc']))}: {first['msg']})") from error
    except ValueError as error:
        raise ValueError(f"its header is not JSON ({error})") from error
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if begin != at or end - begin != math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]:
            raise ValueError(f"the tensor {name} of shape {tensor.shape} has the bytes from {begin:,} to {end:,}")
        at = end
    if at != rest:
        raise ValueError(f"its header lists {at:,} bytes of numbers, and the file has {rest:,}")
