"""Bodies of `POST /predict` are read and parsed, without a service."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from service.api.body import ALIASES, JSON, MOST_JSON_ON_LOOP, PIXELS, Body, parse, supported_type
from service.api.exchange import Exchange, MoreHeaders
from service.api.query import read_query
from service.errors import InvalidError, UnsupportedMediaTypeError
from service.images.normalise import rows_to_mnist, to_mnist
from service.inference.background import finish
from service.inference.data_plane import InferenceRequest
from service.inference.pictures import base64_picture
from service.settings import Settings
from tests.digits import encoded, load_test_set, seven

DIGITS, _ = load_test_set()
SETTINGS = Settings()
SEVEN = encoded(seven())
GRID = seven().tolist()


def whole(body: Body, query: str) -> InferenceRequest:
    """The request that a body and a query make, with the work of the thread."""
    request = parse(body, read_query(query.encode()), SETTINGS)
    return request if isinstance(request, InferenceRequest) else finish(request)


def parsed(content: bytes, media_type: str, query: str = "") -> InferenceRequest:
    """The request that a body and a query make."""

    async def receive() -> Message:
        return {"type": "http.request", "body": content}

    async def send(_: Message) -> None:
        pass

    async def run() -> InferenceRequest:
        scope = {"type": "http", "headers": [(b"content-type", media_type.encode())]}
        exchange = Exchange(scope, receive, send, 10**7, MoreHeaders([], lambda _: []))
        return whole(Body(supported_type(exchange), media_type, await exchange.body()), query)

    return asyncio.run(run())


def parsed_json(document: Any, query: str = "") -> InferenceRequest:
    return parsed(json.dumps(document).encode(), "application/json", query)


def only_seven(request: InferenceRequest) -> bool:
    return np.array_equal(request.images, seven()[np.newaxis])


def error_of(content: bytes, query: str = "") -> tuple[str, str]:
    """The field and the message of the error of raw bytes."""
    with pytest.raises(InvalidError) as caught:
        whole(Body(PIXELS, PIXELS, content), query)
    return caught.value.errors[0].field, caught.value.errors[0].message


# Raw bytes.

OTHER_TYPES: dict[str, Any] = {
    "float32, 0 to 1": lambda image: (image / 255).astype("<f4"),
    "float32, 0 to 255": lambda image: image.astype("<f4"),
    "float32, normalised": lambda image: ((image / 255 - 0.1307) / 0.3081).astype("<f4"),
    "float64": lambda image: image.astype("<f8"),
    "float16": lambda image: (image / 255).astype("<f2"),
    "int16": lambda image: image.astype("<i2"),
    "int32, big-endian": lambda image: image.astype(">i4"),
    "int64": lambda image: image.astype("<i8"),
    "RGB": lambda image: np.repeat(image[..., np.newaxis], 3, -1),
    "RGBA": lambda image: np.insert(np.repeat(image[..., np.newaxis], 3, -1), 3, 255, -1),
    "three planes of RGB": lambda image: np.stack([image, image // 2, image // 3]),
    "an image of 56x56": lambda image: np.kron(image, np.ones((2, 2), np.uint8)),
}


@pytest.mark.parametrize("name", OTHER_TYPES)
def test_one_digit_of_another_type_is_never_taken_for_several_images(name: str) -> None:
    for digit in DIGITS[:100]:
        content = OTHER_TYPES[name](digit).tobytes()
        field, message = error_of(content)
        assert field.startswith("body.")
        assert "Perhaps the bytes are of another type than one byte for each grey level" in message
        assert f"{len(content) // 784} images of grey levels, give the number of images as count" in message


@pytest.mark.parametrize("images", [DIGITS[:40], 255 - DIGITS[:40], np.stack([DIGITS[0], 255 - DIGITS[1]])])
def test_several_raw_digits_in_mnists_form_or_its_negative_need_no_count(images: npt.NDArray[np.uint8]) -> None:
    white_on_black = np.where(images[:, :1, :1] == 255, 255 - images, images)
    assert np.array_equal(parsed(images.tobytes(), PIXELS).images, white_on_black)


def test_several_raw_images_in_another_form_need_a_count() -> None:
    images = np.roll(DIGITS[:3], -3, axis=1)
    assert error_of(images.tobytes())[0] == "body.0"
    assert np.array_equal(parsed(images.tobytes(), PIXELS, "count=3").images, rows_to_mnist(images))


def test_one_raw_image_in_another_form_needs_no_count() -> None:
    moved = np.roll(seven(), -3, axis=0)
    assert np.array_equal(parsed(moved.tobytes(), PIXELS).images[0], to_mnist(moved))


@settings(deadline=None)
@given(images=st.integers(1, 4), count=st.integers(1, 5))
def test_another_count_than_the_number_of_images_is_refused_in_every_body(images: int, count: int) -> None:
    bodies = [
        (DIGITS[:images].tobytes(), PIXELS),
        (json.dumps({"images": DIGITS[:images].tolist()}).encode(), "application/json"),
    ]
    for content, media_type in bodies:
        if images == count:
            assert len(parsed(content, media_type, f"count={count}").images) == images
        else:
            with pytest.raises(InvalidError, match=f"count: must be the number of images, {images}"):
                parsed(content, media_type, f"count={count}")


# Media types and forms.


@pytest.mark.parametrize("media_type", [*ALIASES, "Image/JPG; q=1"])
def test_other_names_of_media_types_are_accepted(media_type: str) -> None:
    assert only_seven(parsed(SEVEN, media_type))


@pytest.mark.parametrize("media_type", ["image/gif", "image/webp", "image/svg+xml", "image", "image/**", "png"])
def test_other_media_types_are_refused(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parsed(SEVEN, media_type)


def form(content: bytes, *lines: str, charset: str = "") -> InferenceRequest:
    """The request of a form with one part, which has these header lines."""
    head = "\r\n".join(lines).encode()
    return parsed(
        b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n--b--\r\n", f"multipart/form-data; boundary=b{charset}"
    )


@pytest.mark.parametrize("media_type", ["image/png", "image/jpg", "image/*", "multipart/form-data", "text/plain"])
@pytest.mark.parametrize("filename", ["", '; filename="seven.png"'])
def test_a_part_with_a_picture_is_a_picture_whatever_it_says_about_itself(media_type: str, filename: str) -> None:
    disposition = f'Content-Disposition: form-data; name="a"{filename}'
    assert only_seven(form(SEVEN, disposition, f"Content-Type: {media_type}"))
    assert only_seven(form(SEVEN, disposition))


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=latin-1"])
def test_a_large_picture_needs_no_filename(charset: str) -> None:
    noise = np.random.default_rng(0).integers(200, 210, (1100, 1100), np.uint8)
    noise[400:680, 400:680] -= np.kron(seven() // 2, np.ones((10, 10), np.uint8))
    content = encoded(noise)
    assert len(content) > 2**19
    request = form(content, 'Content-Disposition: form-data; name="a"', charset=charset)
    assert len(request.images) == 1


@settings(deadline=None)
@given(
    content=st.binary(max_size=50) | st.binary(max_size=50).map(lambda rest: b"\xff\xd8\xff" + rest),
    charset=st.sampled_from(["utf-8", "latin-1", "cp1252", "utf-16", "shift_jis", "none"]),
)
def test_a_part_without_a_picture_and_a_filename_is_refused(content: bytes, charset: str) -> None:
    with pytest.raises(Exception, match=r"(a: |body: ).*(is not a file|PNG|damaged|has no file)|Invalid|boundary"):
        form(content, 'Content-Disposition: form-data; name="a"', charset=f"; charset={charset}")


# JSON.


def test_a_byte_order_mark_before_json_is_ignored() -> None:
    content = json.dumps({"images": [GRID]}).encode()
    assert only_seven(parsed(b"\xef\xbb\xbf" + content, "application/json"))


@given(content=st.binary(max_size=400))
def test_base64_may_be_url_safe_and_may_lack_its_padding(content: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(content).decode()
        for each in (text, text.rstrip("="), f"data:image/png;base64,{text}", "\r\n".join(text)):
            assert base64_picture("images.0", each) == content


@pytest.mark.parametrize("field", ["tolerance", "rtol", "atol", "max_nfe", "deadline_ms", "steps"])
@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_number(field: str, value: bool) -> None:
    with pytest.raises(InvalidError, match=f"{field}: must be a number, and a boolean is no number"):
        parsed_json({"images": [GRID], field: value})


def test_an_image_of_booleans_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"images\.0: must be 28 rows of 28 numbers .*a value is a boolean"):
        parsed_json({"images": [(seven() > 127).tolist()]})


VALUES = {
    "tolerance": 0.01,
    "steps": 3,
    "max_nfe": 9,
    "deadline_ms": 50,
    "trace": True,
    "model": "mlp",
    "method": "rk4",
}


@pytest.mark.parametrize("field", VALUES)
def test_null_in_the_body_counts_as_absent(field: str) -> None:
    query = f"{field}={VALUES[field]}"
    with_null, without = (parsed_json({"images": [GRID], **more}, query) for more in ({field: None}, {}))
    assert with_null._replace(images=without.images) == without


@pytest.mark.parametrize("field", ["tolerence", "Tolerance", "images"])
def test_an_unknown_field_of_the_query_is_refused_with_the_fields(field: str) -> None:
    with pytest.raises(InvalidError, match=f"{field}: is not a field; the fields are method, tolerance, .*, count"):
        read_query(f"{field}=1".encode())


# Short JSON, which the event loop parses itself.


def on_loop(document: dict[str, Any]) -> InferenceRequest | None:
    """The request that the event loop makes of JSON; None if it leaves the rest to a thread."""
    request = parse(Body(JSON, JSON, json.dumps(document).encode()), read_query(b""), SETTINGS)
    return request if isinstance(request, InferenceRequest) else None


@given(st.integers(0, 999), st.sampled_from([{}, {"tolerance": 0.1}, {"model": "mlp", "trace": True}]))
def test_short_json_in_form_is_parsed_as_any_json(row: int, fields: dict[str, Any]) -> None:
    document = {"images": [DIGITS[row].tolist()], **fields}
    quick = on_loop(document)
    assert quick is not None
    usual = parsed(json.dumps(document).encode() + b" " * MOST_JSON_ON_LOOP, JSON)
    assert np.array_equal(quick.images, usual.images)
    assert quick._replace(images=DIGITS) == usual._replace(images=DIGITS)


@pytest.mark.parametrize(
    "images",
    [
        [base64.b64encode(SEVEN).decode()],
        [np.roll(seven(), 6, axis=0).tolist()],
        [(255 - seven()).tolist()],
        [GRID] * 8,
    ],
    ids=["a picture", "an image that is not in form", "black on white", "many images"],
)
def test_other_json_is_left_to_a_thread(images: list[Any]) -> None:
    assert on_loop({"images": images}) is None


def test_a_wrong_field_of_short_json_is_refused_at_once() -> None:
    with pytest.raises(InvalidError):
        on_loop({"images": [GRID], "tolerance": True})
