"""How many images a body holds, according to its headers."""

import pytest
from starlette.requests import empty_receive, empty_send

from service.api.body import JSON, MULTIPART, PIXELS, expected_images
from service.api.exchange import Exchange, MoreHeaders


def expected(**headers: str) -> int:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    exchange = Exchange({"type": "http", "headers": raw}, empty_receive, empty_send, 0, MoreHeaders([], lambda _: []))
    return expected_images(exchange, max_images=8)


@pytest.mark.parametrize("images", [1, 2, 8])
def test_the_length_of_raw_pixels_gives_the_number_of_images(images: int) -> None:
    assert expected(content_type=PIXELS, content_length=str(784 * images)) == images


@pytest.mark.parametrize("content_type", [JSON, "image/png", MULTIPART])
def test_any_other_body_counts_as_one_image(content_type: str) -> None:
    assert expected(content_type=content_type, content_length=str(784 * 4)) == 1


@pytest.mark.parametrize("content_length", ["", "many", "-1", "0", "785", str(784 * 9), "9" * 5000, "²"])
def test_a_length_that_is_invalid_or_too_large_counts_as_one_image(content_length: str) -> None:
    assert expected(content_type=PIXELS, content_length=content_length) == 1
