"""Writes answers in JSON and in binary form."""

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from service.engine.request import EngineRequest
from service.open_inference.outputs import OutputChoice, tensors


def write_answer(
    answered: EngineRequest, outputs: Iterable[OutputChoice], request_id: str | None
) -> tuple[bytes, bytes | None]:
    """Write the answer to a request.

    Returns:
        The JSON, and the bytes that follow the JSON. The bytes are None if no output is in binary form.
    """
    heads, parts = list[dict[str, Any]](), list[bytes]()
    for tensor in tensors(answered, outputs):
        head: dict[str, Any] = {"name": tensor.choice.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if tensor.choice.binary:
            parts.append(tensor.binary())
            heads.append({**head, "parameters": {"binary_data_size": len(parts[-1])}})
        else:
            heads.append({**head, "data": tensor.values()})
    answer: dict[str, Any] = {"model_name": answered.model.name, "model_version": answered.model.version}
    if request_id is not None:
        answer["id"] = request_id
    answer["outputs"] = heads
    return to_json(answer, inf_nan_mode="null"), b"".join(parts) if parts else None
