"""Writes answers as tensors, in JSON and in binary form."""

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
"""The NumPy types of the numeric datatypes, little-endian."""

CLASSIFIABLE = "probabilities"


class Output(NamedTuple):
    """An output of a model: its datatype, and its shape without the dimension of the images."""

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
    "escalated": Output("BOOL"),
    "degraded": Output("BOOL"),
}
"""The outputs that describe the solve. `service.inference.data_plane.solve_columns` returns a column for each."""


class OutputChoice(NamedTuple):
    """An output to return.

    Attributes:
        name: the name of the output.
        binary: whether the output is in binary form.
        classes: for probabilities, how many of the most probable classes to return; None for the tensor itself.
    """

    name: str
    binary: bool
    classes: int | None = None


class OutputTensor(NamedTuple):
    """A tensor of the answer: its JSON, and its bytes if the tensor is in binary form."""

    head: dict[str, Any]
    binary: bytes = b""


def outputs_of(model: ServedModel) -> dict[str, Output]:
    """The outputs of a model, by their names."""
    manifest = model.artifact.manifest
    outputs = {
        "probabilities": Output("FP32", (len(manifest.classes),)),
        "digit": Output("INT64"),
        "margin": Output("FP32"),
    }
    return outputs | (SOLVES if manifest.methods else {})


def choose_outputs(requested: list[RequestedOutput] | None, model: ServedModel, *, binary: bool) -> list[OutputChoice]:
    """Choose the outputs to return.

    Args:
        requested: the outputs that the request names; None or an empty list for all outputs.
        model: the model that answers.
        binary: whether an output is returned in binary form if the request sets no `binary_data` for this output.

    Raises:
        InvalidError: the model has no such output, an output is named twice, or a classification is requested of an
            output other than the probabilities.
    """
    known = outputs_of(model)
    if not requested:
        return [OutputChoice(name, binary) for name in known]
    choices: list[OutputChoice] = []
    for number, output in enumerate(requested):
        if output.name not in known or output.name in {choice.name for choice in choices}:
            message = f"must be one of {', '.join(known)}, each at most once"
            raise InvalidError(FieldError(f"outputs.{number}.name", message, shortened(output.name)))
        classes, binary_data = output.parameters.classification, output.parameters.binary_data
        if classes is not None and output.name != CLASSIFIABLE:
            message = f"is available for {CLASSIFIABLE}, not for {output.name}"
            raise InvalidError(FieldError(f"outputs.{number}.parameters.classification", message, str(classes)))
        choices.append(OutputChoice(output.name, binary if binary_data is None else binary_data, classes))
    return choices


def write_answer(
    answered: EngineRequest, outputs: Iterable[OutputChoice], request_id: str | None
) -> tuple[bytes, bytes | None]:
    """Write the answer to a request.

    Returns:
        The JSON, and the bytes that follow the JSON. The bytes are None if no output is in binary form.
    """
    outputs, known = list(outputs), outputs_of(answered.model)
    columns: dict[str, Any] = {
        "probabilities": answered.probabilities,
        "digit": answered.answer.digits,
        "margin": answered.margins,
        **solve_columns(answered),
    }
    tensors = [_write_tensor(each, known[each.name], columns[each.name], answered) for each in outputs]
    answer: dict[str, Any] = {"model_name": answered.model.name, "model_version": answered.model.version}
    if request_id is not None:
        answer["id"] = request_id
    answer["outputs"] = [tensor.head for tensor in tensors]
    binary = b"".join(tensor.binary for tensor in tensors) if any(each.binary for each in outputs) else None
    return to_json(answer, inf_nan_mode="null"), binary


def _write_tensor(choice: OutputChoice, output: Output, column: Any, answered: EngineRequest) -> OutputTensor:
    """Write a tensor of the answer from a column with one value for each image."""
    head: dict[str, Any] = {
        "name": choice.name,
        "datatype": output.datatype,
        "shape": [len(answered.images), *output.dims],
    }
    if choice.classes is not None:
        column = _classify(column, choice.classes, answered.model.artifact.manifest.classes)
        head |= {"datatype": "BYTES", "shape": [*column.shape]}
    if not choice.binary:
        values = column.ravel().tolist() if isinstance(column, np.ndarray) else column
        return OutputTensor({**head, "data": values})
    binary = _binary(head["datatype"], column)
    return OutputTensor({**head, "parameters": {"binary_data_size": len(binary)}}, binary)


def _binary(datatype: str, column: Any) -> bytes:
    """The values row by row, little-endian. The length of each text precedes the text."""
    if datatype == "BYTES":
        texts = [str(text).encode() for text in np.ravel(column)]
        return b"".join(part for text in texts for part in (PREFIX.pack(len(text)), text))
    return np.array(column, DTYPES[datatype]).tobytes()  # None becomes NaN


def _classify(probabilities: npt.NDArray[np.float32], most: int, labels: list[str]) -> npt.NDArray[np.str_]:
    """At most `most` of the most probable classes of each image, each as ``value:index:label``: ``[rows, n]``."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    values = np.take_along_axis(probabilities, ranked, axis=1)
    images = zip(values, ranked.tolist(), strict=True)
    return np.array([[f"{p}:{index}:{labels[index]}" for p, index in zip(*image, strict=True)] for image in images])
