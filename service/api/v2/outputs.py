"""Answers as tensors, in JSON and in binary form."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from service.api.v2.body import RequestedOutput
from service.api.v2.inputs import PREFIX
from service.engine.model import ServedModel
from service.engine.request import EngineRequest
from service.errors import FieldError, InvalidError, shortened
from service.inference.data_plane import solve_columns

DTYPES: dict[str, npt.DTypeLike] = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "BOOL": "?"}
"""Of numbers; BYTES have none."""

CLASSIFIABLE = "probabilities"


class Output(NamedTuple):
    """An output that a model has: its datatype, and its shape but for the images."""

    datatype: str
    dims: tuple[int, ...] = ()


SOLVES = {
    "nfe": Output("INT64"),
    "error_estimate": Output("FP32"),
    "method": Output("BYTES"),
    "rtol": Output("FP64"),
    "atol": Output("FP64"),
    "steps": Output("INT64"),
    "rejected": Output("INT64"),
    "outcome": Output("BYTES"),
    "degraded": Output("BOOL"),
}
"""What is told of a solve; by the names of `service.inference.data_plane.solve_columns`."""


class Wanted(NamedTuple):
    """An output that is to be told: in binary form or not, and for probabilities as how many classes, or None."""

    name: str
    binary: bool
    classes: int | None = None


class Written(NamedTuple):
    """A tensor of the answer: its JSON, and the bytes after it, if it is in binary form."""

    told: dict[str, Any]
    binary: bytes = b""


def outputs_of(model: ServedModel) -> dict[str, Output]:
    """The outputs of a model, by their names."""
    manifest = model.artifact.manifest
    own = {"probabilities": Output("FP32", (len(manifest.classes),)), "digit": Output("INT64")}
    return own | (SOLVES if manifest.methods else {})


def wanted(asked: list[RequestedOutput] | None, model: ServedModel, *, binary: bool) -> list[Wanted]:
    """What is to be told.

    Args:
        asked: by the request; None or an empty list for all that there is.
        model: that is asked.
        binary: whether outputs that do not say are told in binary form.

    Raises:
        InvalidError: there is no such output, it is asked for twice, or it is no classification.
    """
    known = outputs_of(model)
    if not asked:
        return [Wanted(name, binary) for name in known]
    told: list[Wanted] = []
    for number, output in enumerate(asked):
        if output.name not in known or output.name in {each.name for each in told}:
            message = f"must be one of {', '.join(known)}, each once"
            raise InvalidError(FieldError(f"outputs.{number}.name", message, shortened(output.name)))
        classes, parameters = output.parameters.classification, output.parameters
        if classes is not None and output.name != CLASSIFIABLE:
            message = f"goes with {CLASSIFIABLE}, not with {output.name}"
            raise InvalidError(FieldError(f"outputs.{number}.parameters.classification", message, str(classes)))
        told.append(Wanted(output.name, binary if parameters.binary_data is None else parameters.binary_data, classes))
    return told


def written(answered: EngineRequest, outputs: Iterable[Wanted], request_id: str | None) -> tuple[bytes, bytes | None]:
    """The answer to a request.

    Returns:
        The JSON, and what follows it in binary form; None where nothing is to be.
    """
    outputs, known = list(outputs), outputs_of(answered.model)
    columns: dict[str, Any] = {
        "probabilities": answered.probabilities,
        "digit": answered.answer.digits,
        **solve_columns(answered),
    }
    tensors = [_written(each, known[each.name], columns[each.name], answered) for each in outputs]
    answer: dict[str, Any] = {"model_name": answered.model.name, "model_version": answered.model.version}
    if request_id is not None:
        answer["id"] = request_id
    answer["outputs"] = [tensor.told for tensor in tensors]
    binary = b"".join(tensor.binary for tensor in tensors) if any(each.binary for each in outputs) else None
    return to_json(answer, inf_nan_mode="null"), binary


def _written(asked: Wanted, output: Output, column: Any, answered: EngineRequest) -> Written:
    """A tensor of the answer, from a value for each image."""
    told: dict[str, Any] = {
        "name": asked.name,
        "datatype": output.datatype,
        "shape": [len(answered.images), *output.dims],
    }
    if asked.classes is not None:
        column = _classified(column, asked.classes, answered.model.artifact.manifest.classes)
        told |= {"datatype": "BYTES", "shape": [*column.shape]}
    if not asked.binary:
        values = column.ravel().tolist() if isinstance(column, np.ndarray) else column
        return Written({**told, "data": values})
    binary = _binary(told["datatype"], column)
    return Written({**told, "parameters": {"binary_data_size": len(binary)}}, binary)


def _binary(datatype: str, column: Any) -> bytes:
    """Values row by row, little-endian; each text after its length."""
    if datatype == "BYTES":
        texts = [str(text).encode() for text in np.ravel(column)]
        return b"".join(part for text in texts for part in (PREFIX.pack(len(text)), text))
    return np.array(column, DTYPES[datatype]).tobytes()  # in which None becomes not a number


def _classified(probabilities: npt.NDArray[np.float32], most: int, classes: list[str]) -> npt.NDArray[np.str_]:
    """The most probable classes of each image, ``[rows, most]``: value, index and label, parted by colons."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    values = np.take_along_axis(probabilities, ranked, axis=1)
    rows = zip(values, ranked.tolist(), strict=True)
    return np.array([[f"{p}:{at}:{classes[at]}" for p, at in zip(*row, strict=True)] for row in rows])
