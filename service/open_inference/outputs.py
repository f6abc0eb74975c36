"""Chooses the outputs of an answer, and writes them as tensors."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from service.engine.model import ServedModel
from service.engine.request import EngineRequest
from service.errors import FieldError, InvalidError, shortened
from service.inference.data_plane import solve_columns
from service.open_inference.inputs import PREFIX
from service.open_inference.request import RequestedOutput

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
    """A tensor of an answer.

    Attributes:
        choice: the output, as the request names it.
        datatype: the datatype of the values.
        shape: the shape, images first.
        column: an array of this shape, or a list with one value for each image. A value is None if it does not exist.
    """

    choice: OutputChoice
    datatype: str
    shape: list[int]
    column: Any

    def values(self) -> list[Any]:
        """The values row by row."""
        values: list[Any] = self.column.ravel().tolist() if isinstance(self.column, np.ndarray) else self.column
        return values

    def binary(self) -> bytes:
        """The values row by row, little-endian. The length of each text precedes the text. None becomes NaN."""
        if self.datatype == "BYTES":
            texts = [str(text).encode() for text in self.values()]
            return b"".join(part for text in texts for part in (PREFIX.pack(len(text)), text))
        return np.array(self.column, DTYPES[self.datatype]).tobytes()


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


def tensors(answered: EngineRequest, outputs: Iterable[OutputChoice]) -> Iterator[OutputTensor]:
    """The tensors of an answer, in the order of the outputs."""
    known = outputs_of(answered.model)
    columns: dict[str, Any] = {
        "probabilities": answered.probabilities,
        "digit": answered.answer.digits,
        "margin": answered.margins,
        **solve_columns(answered),
    }
    for choice in outputs:
        output, column = known[choice.name], columns[choice.name]
        if choice.classes is None:
            yield OutputTensor(choice, output.datatype, [len(answered.images), *output.dims], column)
        else:
            classes = _classify(column, choice.classes, answered.model.artifact.manifest.classes)
            yield OutputTensor(choice, "BYTES", [*classes.shape], classes)


def _classify(probabilities: npt.NDArray[np.float32], most: int, labels: list[str]) -> npt.NDArray[np.str_]:
    """At most `most` of the most probable classes of each image, each as ``value:index:label``: ``[rows, n]``."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    values = np.take_along_axis(probabilities, ranked, axis=1)
    images = zip(values, ranked.tolist(), strict=True)
    return np.array([[f"{p}:{index}:{labels[index]}" for p, index in zip(*image, strict=True)] for image in images])
