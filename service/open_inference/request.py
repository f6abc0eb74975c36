"""The fields of a request for inference, and their validation."""

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from models.solvers.settings import PLAIN_NUMBER
from service.engine.plan import SolverFields
from service.engine.request import Priority
from service.errors import FieldError, InvalidError, field_errors

LEVELS = 3
"""Number of priority levels: 1 is the highest, 2 is the default, and 0 means the default (Triton's schedule policy)."""

PRIORITIES = {None: Priority.normal, 0: Priority.normal, 1: Priority.high, 2: Priority.normal, LEVELS: Priority.low}
"""The priorities of the engine, by the parameter `priority`."""

MOST_PARAMETERS = 64
"""Limit of the parameters of a request. We count them before we validate them, so that a million wrong ones cost no
time."""

IGNORED_PARAMETERS = frozenset({"content_type", "headers", "triton_enable_empty_final_response"})
"""Parameters of a request that clients of other servers always send, and that have no effect on an answer. MLServer's
client sends the first two. Triton's perf_analyzer sends the third: it asks for the mark of the last of several answers,
and each of our requests has one answer."""

Model = TypeVar("Model", bound=BaseModel)


def _null_is_empty(parameters: Any) -> Any:
    return {} if parameters is None else parameters


def _relevant(parameters: Any) -> Any:
    if not isinstance(parameters, dict):
        return _null_is_empty(parameters)
    if len(parameters) > MOST_PARAMETERS:
        raise PydanticCustomError("parameters", "at most {most} parameters", {"most": MOST_PARAMETERS})
    return {name: value for name, value in parameters.items() if name not in IGNORED_PARAMETERS}


def optional(model: type[BaseModel]) -> BeforeValidator:
    """Takes null for an empty object, because many programs write what is absent as null."""
    return BeforeValidator(_null_is_empty, json_schema_input_type=model | None)


def relevant(model: type[BaseModel]) -> BeforeValidator:
    """The same. It also removes the parameters that are ignored, and limits the number of parameters.

    Without the limit, each of a million unknown parameters would give an error.
    """
    return BeforeValidator(_relevant, json_schema_input_type=model | None)


class InferParameters(SolverFields):
    """Parameters of the request: how to solve, and how to answer."""

    priority: Annotated[
        int | None,
        Field(ge=0, le=LEVELS, description="Decides which queued images start first: 1, then 2 or 0, then 3."),
        PLAIN_NUMBER,
    ] = None
    timeout: Annotated[
        int | None,
        Field(ge=1_000, le=600_000_000, description="The same as deadline_ms, in microseconds."),
        PLAIN_NUMBER,
    ] = None
    binary_data_output: Annotated[
        bool | None,
        Field(strict=True, description="Whether outputs without binary_data follow the JSON as bytes.  Default: no."),
    ] = None

    @cached_property
    def solver_fields(self) -> SolverFields:
        """The solver fields among the parameters.

        Raises:
            InvalidError: the request gives its deadline twice.
        """
        fields = self.model_dump(include=self.model_fields_set & SolverFields.model_fields.keys())
        if self.timeout is not None:
            if self.deadline_ms is not None:
                message = "is the same as deadline_ms; give only one of them"
                raise InvalidError(FieldError("parameters.timeout", message, str(self.timeout)))
            fields["deadline_ms"] = self.timeout / 1e3
        return SolverFields.model_construct(**fields)


class OpenObject(BaseModel):
    """An object in the JSON of a request. Unknown keys are ignored, because they may be meant for other servers.

    But a parameter of the request in the wrong object is refused: the caller would believe that it had an effect.
    """

    @model_validator(mode="before")
    @classmethod
    def _refuse_misplaced(cls, document: Any) -> Any:
        wrong = sorted(InferParameters.model_fields.keys() & document.keys()) if isinstance(document, dict) else ()
        if wrong:
            raise PydanticCustomError(
                "misplaced", "{names} must be in the parameters of the request", {"names": ", ".join(wrong)}
            )
        return document


class TensorParameters(OpenObject):
    """Parameters of an input."""

    binary_data_size: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            description="The number of bytes of the tensor. The tensors follow the JSON in the order of the inputs.",
        ),
    ] = None


class InputTensor(OpenObject):
    """A tensor of the request."""

    name: str
    shape: list[Annotated[int, Field(strict=True, ge=0)]] = Field(max_length=8)
    datatype: str
    parameters: Annotated[TensorParameters, optional(TensorParameters)] = Field(default_factory=TensorParameters)
    data: Annotated[Any, Field(description="The values row by row, flat or nested. Absent for a binary tensor.")] = None


class OutputParameters(OpenObject):
    """Parameters of an output."""

    binary_data: Annotated[
        bool | None, Field(strict=True, description="Whether the output follows the JSON as bytes.")
    ] = None
    classification: Annotated[
        int | None,
        Field(
            strict=True, ge=1, description="How many of the most probable classes to return, each as value:index:label."
        ),
    ] = None


class RequestedOutput(OpenObject):
    """An output that the request names."""

    name: str
    parameters: Annotated[OutputParameters, optional(OutputParameters)] = Field(default_factory=OutputParameters)


class InferRequest(OpenObject):
    """A request for inference: the JSON of REST, or the fields of the message of gRPC."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    id: Annotated[str | None, Field(description="Repeated in the answer.")] = None
    parameters: Annotated[InferParameters, relevant(InferParameters)] = Field(default_factory=InferParameters)
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: Annotated[
        list[RequestedOutput] | None, Field(max_length=64, description="The outputs to return.  Default: all.")
    ] = None


def validated(document: dict[str, Any], model: type[Model]) -> Model:
    """Validate the fields of a request.

    Raises:
        InvalidError: a field is missing, has the wrong shape, or is out of range; or a parameter is unknown.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        for each in errors:
            if each["type"] == "extra_forbidden":  # only parameters forbid unknown names
                each["msg"] += f"; the parameters are {', '.join(_parameters(model)) or 'none'}"
        raise InvalidError(*field_errors(list(errors))) from error


def _parameters(model: type[BaseModel]) -> Iterable[str]:
    """The names of the parameters of a request."""
    return cast("type[BaseModel]", model.model_fields["parameters"].annotation).model_fields
