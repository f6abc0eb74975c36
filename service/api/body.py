"""The body of a request: the images in it, and for JSON the solver fields, by media type."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import FailFast, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError, from_json
from starlette.datastructures import UploadFile
from starlette.requests import Request

from models.backends.answer import Images
from models.form import SIDE
from service.api.lengths import length
from service.api.numbers import numbers
from service.api.pictures import base64_picture, grey_levels, picture
from service.api.query import PredictFields, QueryFields
from service.engine.request import Priority
from service.errors import (
    MOST_ERRORS,
    FieldError,
    InvalidError,
    MalformedError,
    TooLargeError,
    UnsupportedMediaTypeError,
    invalid,
    shortened,
)
from service.images.decode import READERS
from service.images.form import in_form
from service.inference.data_plane import InferenceRequest
from service.settings import Settings

IMAGE_BYTES = SIDE * SIDE

SHORT = 64 * IMAGE_BYTES
"""Bytes of raw pixels, in MNIST's form, that are read within the event loop."""

MAGIC = tuple(READERS)

JSON = "application/json"
MULTIPART = "multipart/form-data"
PIXELS = "application/octet-stream"
PICTURES = ("image/png", "image/jpeg")
MEDIA_TYPES = (JSON, *PICTURES, PIXELS, MULTIPART)


class Part(NamedTuple):
    """One part of a body: where it is, its media type, and its content."""

    field: str
    media_type: str
    content: bytes


def _image(value: Any) -> str | Images:
    """A picture in base64 as it is, or a grid of grey levels as an array."""
    if isinstance(value, str):
        return value
    try:
        grid = numbers(value if isinstance(value, list) and len(value) == SIDE else [], (SIDE, SIDE))
    except ValueError as error:
        message = "must be 28 rows of 28 numbers from 0 to 255, or a PNG or JPEG in base64"
        raise PydanticCustomError("image", message) from error
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(~((grid >= 0) & (grid <= 255) & (grid == np.floor(grid))))
    if len(wrong):
        row, column = map(int, wrong[0])
        raise PydanticCustomError(
            "grey_level",
            "must hold whole numbers from 0 to 255; row {row}, column {column} holds {level}",
            {"row": row, "column": column, "level": f"{grid[row, column]:.10g}"},
        )
    return grid.astype(np.uint8)


GREY_LEVEL = {"type": "integer", "minimum": 0, "maximum": 255}
ROW = {"type": "array", "items": GREY_LEVEL, "minItems": SIDE, "maxItems": SIDE}
IMAGE_SCHEMA = {
    "oneOf": [
        {"type": "array", "items": ROW, "minItems": SIDE, "maxItems": SIDE, "title": "28 rows of 28 grey levels"},
        {"type": "string", "contentEncoding": "base64", "title": "a PNG or JPEG of any size, in base64"},
    ]
}


class PredictBody(PredictFields):
    """The body of `POST /predict` as JSON."""

    images: Annotated[
        list[Annotated[str | Images, PlainValidator(_image), WithJsonSchema(IMAGE_SCHEMA)]],
        FailFast(),
        Field(
            min_length=1,
            description="Each image is 28 rows of 28 grey levels from 0 to 255, or a PNG or JPEG of any size in "
            "base64. What is not in MNIST's form, white ink on black, is brought to it.",
        ),
    ]


def expected_images(request: Request, most: int) -> int:
    """How many images the body seems to hold by its headers: those of raw pixels tell, and others hold one at least.

    A body that is too large is told so by whoever reads it.
    """
    told = length(request.headers.get("content-length", ""))
    if told is None or request.headers.get("content-type") != PIXELS:
        return 1
    images, rest = divmod(told, IMAGE_BYTES)
    return images if rest == 0 and 1 <= images <= most else 1


async def read(request: Request) -> list[Part]:
    """Read the body whole, and part it if it is multipart.

    Raises:
        UnsupportedMediaTypeError: its media type, or that of a part, is not taken.
        InvalidError: a multipart body has no file, or a field that is none.
    """
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise _unsupported("content-encoding", encoding, ["identity"])
    media_type = _media_type(request.headers.get("content-type"))
    if media_type not in MEDIA_TYPES:
        raise _unsupported("content-type", media_type, MEDIA_TYPES)
    if media_type != MULTIPART:
        return [Part("body", media_type, await request.body())]
    parts = []
    # The body is bounded already, and the number of images is checked as it is for any other body.
    async with request.form(max_files=inf, max_fields=inf) as form:
        for name, upload in form.multi_items():
            if not isinstance(upload, UploadFile):
                message = "is no file; files go in the form, solver fields in the query"
                raise InvalidError(FieldError(shortened(name), message, shortened(upload)))
            part_type = _media_type(upload.content_type) or PIXELS
            if part_type not in {PIXELS, *PICTURES}:
                raise _unsupported(shortened(name), part_type, (*PICTURES, PIXELS))
            parts.append(Part(shortened(name), part_type, await upload.read()))
    if not parts:
        raise InvalidError(FieldError("body", "has no file; each image is one"))
    return parts


def is_short(parts: Sequence[Part]) -> bool:
    """Whether there is next to nothing to do for these parts: they are a few raw images in MNIST's form."""
    if sum(len(part.content) for part in parts) > SHORT:
        return False
    if any(part.media_type != PIXELS or _is_picture(part) for part in parts):
        return False
    return all(len(part.content) % IMAGE_BYTES or in_form(_pixels(part)).all() for part in parts)


def parse(parts: Sequence[Part], query: QueryFields, settings: Settings) -> InferenceRequest:
    """The images and solver fields of a request.

    Args:
        parts: of the body.
        query: of the request.
        settings: with the limits.

    Raises:
        MalformedError: the JSON or a picture cannot be decoded.
        TooLargeError: a picture has too many pixels, or there are too many images.
        InvalidError: a field is of the wrong shape or out of range, or given twice.
    """
    if [part.media_type for part in parts] == [JSON]:
        return _parse_json(parts[0].content, query, settings)
    _check_count(sum(_count(part) for part in parts), settings)
    images = [_images(part, settings) for part in parts]
    pixels = images[0] if len(images) == 1 else np.concatenate(images)
    return InferenceRequest(pixels, query.solver, query.model, priority=Priority[query.priority], trace=query.trace)


def _parse_json(content: bytes, query: QueryFields, settings: Settings) -> InferenceRequest:
    try:
        told = from_json(content)
    except ValueError as error:
        raise MalformedError(FieldError("body", f"is not JSON: {error}")) from error
    if not isinstance(told, dict):
        raise InvalidError(FieldError("body", "must be an object with the field images"))
    # What could be told of a million images or fields is not even looked for.
    if isinstance(told.get("images"), list):
        _check_count(len(told["images"]), settings)
    if unknown := [field for field in told if field not in PredictBody.model_fields]:
        message = f"is not a field; there are {', '.join(PredictBody.model_fields)}"
        raise InvalidError(*(FieldError(shortened(field), message) for field in unknown[:MOST_ERRORS]))
    try:
        body = PredictBody.model_validate(told)
    except ValidationError as error:
        raise invalid(error) from error
    if twice := (body.model_fields_set - {"images"}) & query.model_fields_set:
        raise InvalidError(*(FieldError(field, "is given in the query and in the body") for field in sorted(twice)))
    images = np.stack([_decoded(row, image, settings) for row, image in enumerate(body.images)])
    arrays = [row for row, image in enumerate(body.images) if not isinstance(image, str)]
    if arrays:
        images[arrays] = grey_levels(lambda row: f"images.{arrays[row]}", images[arrays])
    fields = PredictFields.model_construct(
        **query.model_dump(exclude={"priority"}, exclude_unset=True),
        **body.model_dump(exclude={"images"}, exclude_unset=True),
    )
    return InferenceRequest(images, fields.solver, fields.model, priority=Priority[query.priority], trace=fields.trace)


def _decoded(row: int, image: str | Images, settings: Settings) -> Images:
    """An image of a JSON body: a picture in MNIST's form, or grey levels as they are."""
    if not isinstance(image, str):
        return image
    field = f"images.{row}"
    return picture(field, base64_picture(field, image), settings)


def _count(part: Part) -> int:
    """How many images a part that is not JSON holds."""
    return 1 if _is_picture(part) else len(part.content) // IMAGE_BYTES


def _is_picture(part: Part) -> bool:
    """Whether a part is to be decoded; many a client sends a file as mere bytes."""
    return part.media_type in PICTURES or part.content.startswith(MAGIC)


def _images(part: Part, settings: Settings) -> Images:
    if _is_picture(part):
        return picture(part.field, part.content, settings)[np.newaxis]
    if not part.content or len(part.content) % IMAGE_BYTES:
        message = f"must be images of {IMAGE_BYTES} bytes each, a byte for a grey level, or a PNG or a JPEG"
        raise InvalidError(FieldError(part.field, message, f"{len(part.content):,} bytes"))
    images = _pixels(part)
    return grey_levels(lambda row: part.field if len(images) == 1 else f"{part.field}.{row}", images)


def _pixels(part: Part) -> Images:
    """The grey levels of a part that has whole images of them."""
    return np.frombuffer(part.content, np.uint8).reshape(-1, SIDE, SIDE)


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.max_images:
        message = f"at most {settings.max_images:,} in a request"
        raise TooLargeError(FieldError("images", message, f"{count:,}"))


def _media_type(header: str | None) -> str:
    """The type of a Content-Type header without its parameters."""
    return (header or "").partition(";")[0].strip().lower()


def _unsupported(field: str, media_type: str, taken: Iterable[str]) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(
        FieldError(field, f"must be one of {', '.join(taken)}", shortened(media_type) or "none")
    )
