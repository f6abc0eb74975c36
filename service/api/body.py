"""Parses the body of a request to predict by the media type: the images and, in JSON, the solver fields."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import FailFast, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from models.backends.answer import Images
from models.form import SIDE
from service.api.documents import parsing, read_document
from service.api.exchange import Exchange
from service.api.form import FormPart, split
from service.api.lengths import length
from service.api.query import PredictFields, QueryFields, check_known
from service.errors import (
    FieldError,
    InvalidError,
    TooLargeError,
    UnsupportedMediaTypeError,
    as_sent,
    invalid,
    shortened,
)
from service.images.decode import READERS
from service.images.form import are_in_form
from service.inference.background import Work
from service.inference.data_plane import InferenceRequest
from service.inference.numbers import numbers
from service.inference.pictures import base64_picture, check_plausible, grey_levels, picture
from service.settings import Settings

IMAGE_BYTES = SIDE * SIDE

MOST_ON_LOOP = 64
"""The event loop parses at most this many raw images, and only if all of them are in MNIST's form."""

MOST_JSON_ON_LOOP = 4 * IMAGE_BYTES + 1024
"""The event loop parses JSON of at most this many bytes: the grey levels of an image, and the other fields."""

MAGIC = tuple(READERS)

JSON = "application/json"
MULTIPART = "multipart/form-data"
PIXELS = "application/octet-stream"
PICTURES = ("image/png", "image/jpeg")
MEDIA_TYPES = (JSON, *PICTURES, PIXELS, MULTIPART)
ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/*": "image/png",
    "binary/octet-stream": PIXELS,
}
"""Other names of our media types, which programs send. The content tells whether a picture is a PNG or a JPEG."""

IN_QUERY_AND_BODY = set(PredictFields.model_fields)


class Body(NamedTuple):
    """A whole body.

    Attributes:
        media_type: the media type, as `supported_type` returns it.
        content_type: the header Content-Type, which holds the boundary of a form.
        content: the bytes.
    """

    media_type: str
    content_type: str
    content: bytes


class Part(NamedTuple):
    """A file in a body: the name of the field in error messages, the media type, and the content."""

    field: str
    media_type: str
    content: bytes


def _image(value: Any) -> str | Images:
    """Validate an image: return a picture in base64 unchanged, and a grid of grey levels as an array."""
    if isinstance(value, str):
        return value
    try:
        grid = numbers(value if isinstance(value, list) and len(value) == SIDE else [], (SIDE, SIDE))
    except ValueError as error:
        message = "must be 28 rows of 28 numbers from 0 to 255, or a PNG or JPEG in base64 ({reason})"
        raise PydanticCustomError("image", message, {"reason": str(error)}) from error
    with np.errstate(invalid="ignore"):
        levels = grid.astype(np.uint8)
    wrong = levels != grid
    if wrong.any():
        row, column = map(int, np.argwhere(wrong)[0])
        raise PydanticCustomError(
            "grey_level",
            "must hold whole numbers from 0 to 255; row {row}, column {column} holds {level}",
            {"row": row, "column": column, "level": f"{grid[row, column]:.10g}"},
        )
    return levels


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
            "base64. An image that is not in MNIST's form, white ink on black, is converted to this form.",
        ),
    ]


def supported_type(exchange: Exchange) -> str:
    """The media type of the body, without its parameters.

    Raises:
        UnsupportedMediaTypeError: the media type or the encoding of the body is not supported.
    """
    encoding = (exchange.joined(b"content-encoding") or "identity").lower()
    if encoding != "identity":
        raise _unsupported("content-encoding", encoding, ["identity"])
    body_type = _media_type(exchange.first(b"content-type"))
    if body_type not in MEDIA_TYPES:
        raise _unsupported("content-type", body_type, MEDIA_TYPES)
    return body_type


def expected_images(exchange: Exchange, max_images: int) -> int:
    """How many images the body holds, judged by the headers before the body is read.

    The length of raw pixels gives the number of images. Any other body holds at least one image. The result is also 1
    for a length that is not valid or is too large: the code that reads the body refuses such a body.
    """
    body_bytes = length(exchange.first(b"content-length"))
    if body_bytes is None or exchange.first(b"content-type") != PIXELS:
        return 1
    images, rest = divmod(body_bytes, IMAGE_BYTES)
    return images if rest == 0 and 1 <= images <= max_images else 1


def parse(body: Body, query: QueryFields, settings: Settings) -> InferenceRequest | Work[InferenceRequest]:
    """Parse the images and the solver fields of a request, as far as the event loop can do it.

    The event loop parses short JSON and a few raw images if all images are in MNIST's form: to hand such a body over to
    a thread takes longer than to parse it. Any other body takes long.

    Args:
        body: the body of the request.
        query: the query of the request.
        settings: hold the limits.

    Returns:
        The request, or the work that makes the request in threads.

    Raises:
        MalformedError: the JSON, the form or a picture cannot be decoded. The work raises the same errors.
        TooLargeError: a picture has too many pixels, or there are too many images.
        UnsupportedMediaTypeError: the media type of a part of a form is not supported.
        InvalidError: a field has the wrong shape, is out of range, or is given twice; or a form has no file.
    """
    content = body.content
    if body.media_type == MULTIPART:
        return _read_form(body, query, settings)
    if body.media_type == JSON:
        if len(content) > MOST_JSON_ON_LOOP:
            return _read_and_convert(content, query, settings)
        document, fields = _read_json(content, query, settings)
        grids = [image for image in document.images if not isinstance(image, str)]
        if len(grids) == len(document.images) and are_in_form(b"".join(grid.tobytes() for grid in grids)):
            return _request(np.stack(grids), fields, query)
        return _convert(document, fields, query, settings)
    part = Part("body", body.media_type, content)
    if (images := _raw_images_in_form(part, settings)) is not None:
        _check_given_count(len(images), query)
        return _request(images, query, query)
    return _parse_files([part], query, settings)


def _raw_images_in_form(part: Part, settings: Settings) -> Images | None:
    """A few raw images in MNIST's form, as uint8 ``[rows, 28, 28]``; None for any other content."""
    content = part.content
    images, rest = divmod(len(content), IMAGE_BYTES)
    if part.media_type != PIXELS or rest or not 1 <= images <= min(MOST_ON_LOOP, settings.max_images):
        return None
    return _pixels(part) if not content.startswith(MAGIC) and are_in_form(content) else None


def _read_form(body: Body, query: QueryFields, settings: Settings) -> Work[InferenceRequest]:
    """The request of a form. Its parts are files, so it has at most as many parts as images."""
    yield parsing(body.content)
    parts = [_part(each) for each in split(body.content, body.content_type, settings.max_images)]
    if not parts:
        raise InvalidError(FieldError("body", "has no file; send each image as a file"))
    return (yield from _parse_files(parts, query, settings))


def _part(part: FormPart) -> Part:
    """A part of a multipart body. A picture is recognised by its content, whatever the part says about itself."""
    name = shortened(part.name)
    if part.content.startswith(MAGIC):
        return Part(name, PICTURES[0], part.content)
    if not part.is_file:
        message = "is not a file; send files in the form, and solver fields in the query"
        raise InvalidError(FieldError(name, message, shortened(part.content.decode("utf-8", "replace"))))
    part_type = _media_type(part.media_type) or PIXELS
    if part_type not in {PIXELS, *PICTURES}:
        raise _unsupported(name, part_type, (*PICTURES, PIXELS))
    return Part(name, part_type, part.content)


def _parse_files(parts: Sequence[Part], query: QueryFields, settings: Settings) -> Work[InferenceRequest]:
    _check_count(sum(_count(part) for part in parts), settings)
    each = []
    for part in parts:
        each.append((yield from _images(part, query, settings)))
    images = each[0] if len(each) == 1 else np.concatenate(each)
    _check_given_count(len(images), query)
    return _request(images, query, query)


def _read_and_convert(content: bytes, query: QueryFields, settings: Settings) -> Work[InferenceRequest]:
    """The request of a long body in JSON."""
    yield parsing(content)
    return (yield from _convert(*_read_json(content, query, settings), query, settings))


def _convert(
    body: PredictBody, fields: PredictFields, query: QueryFields, settings: Settings
) -> Work[InferenceRequest]:
    """The request of a body in JSON, with all of its images converted to MNIST's form."""
    decoded = []
    for row, image in enumerate(body.images):
        decoded.append((yield from _decoded(row, image, settings)))
    images = np.stack(decoded)
    grid_rows = [row for row, image in enumerate(body.images) if not isinstance(image, str)]
    if grid_rows:
        images[grid_rows] = yield from grey_levels(lambda row: f"images.{grid_rows[row]}", images[grid_rows])
    return _request(images, fields, query)


def _read_json(content: bytes, query: QueryFields, settings: Settings) -> tuple[PredictBody, PredictFields]:
    """A body in JSON, and the fields of the body and of the query together."""
    document = read_document(content, settings.max_images, "an object with the field images")
    # We count the images before we validate them, so that a million wrong ones cost no time.
    if isinstance(document.get("images"), list):
        _check_count(len(document["images"]), settings)
    check_known(document, PredictBody.model_fields)
    try:
        body = PredictBody.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from error
    _check_given_count(len(body.images), query)
    in_query = query.model_dump(include=IN_QUERY_AND_BODY, exclude_none=True)
    in_body = body.model_dump(exclude={"images"}, exclude_none=True)
    if twice := in_query.keys() & in_body.keys():
        message = "is given in the query and in the body"
        values = {field: f"{as_sent(in_query[field])} and {as_sent(in_body[field])}" for field in sorted(twice)}
        raise InvalidError(*(FieldError(field, message, value) for field, value in values.items()))
    return body, PredictFields.model_construct(**in_query | in_body)


def _request(images: Images, fields: PredictFields, query: QueryFields) -> InferenceRequest:
    return InferenceRequest(images, fields.solver, fields.model, priority=query.level, trace=bool(fields.trace))


def _decoded(row: int, image: str | Images, settings: Settings) -> Work[Images]:
    """Return grey levels. A PNG or JPEG is decoded and converted to MNIST's form. A grid is returned unchanged."""
    if not isinstance(image, str):
        return image
    field = f"images.{row}"
    return (yield from picture(field, base64_picture(field, image), settings))


def _count(part: Part) -> int:
    """How many images a part that is not JSON holds."""
    return 1 if _is_picture(part) else len(part.content) // IMAGE_BYTES


def _is_picture(part: Part) -> bool:
    """Whether a part is a PNG or JPEG. We also look at the content, because many clients send files as raw bytes."""
    return part.media_type in PICTURES or part.content.startswith(MAGIC)


def _images(part: Part, query: QueryFields, settings: Settings) -> Work[Images]:
    """The images of a part that is not JSON, converted to MNIST's form."""
    if _is_picture(part):
        image = yield from picture(part.field, part.content, settings)
        return image[np.newaxis]
    if not part.content or len(part.content) % IMAGE_BYTES:
        message = f"must be raw images of {IMAGE_BYTES} bytes each, one byte per grey level, or a PNG or a JPEG"
        raise InvalidError(FieldError(part.field, message, f"{len(part.content):,} bytes"))
    images = _pixels(part)
    if len(images) > 1 and query.count is None:
        check_plausible(part.field, part.content, "give the number of images as count in the query")
    return (yield from grey_levels(lambda row: part.field if len(images) == 1 else f"{part.field}.{row}", images))


def _pixels(part: Part) -> Images:
    """The grey levels of a part whose length is a whole number of images."""
    return np.frombuffer(part.content, np.uint8).reshape(-1, SIDE, SIDE)


def _check_count(count: int, settings: Settings) -> None:
    if count > settings.max_images:
        message = f"at most {settings.max_images:,} in a request"
        raise TooLargeError(FieldError("images", message, f"{count:,}"))


def _check_given_count(count: int, query: QueryFields) -> None:
    if query.count not in {None, count}:
        raise InvalidError(FieldError("count", f"must be the number of images, {count:,}", f"{query.count:,}"))


def _media_type(header: str) -> str:
    """The media type of a Content-Type header by its usual name, without the parameters."""
    media_type = header.partition(";")[0].strip().lower()
    return ALIASES.get(media_type, media_type)


def _unsupported(field: str, media_type: str, supported: Iterable[str]) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(
        FieldError(field, f"must be one of {', '.join(supported)}", shortened(media_type) or "none")
    )
