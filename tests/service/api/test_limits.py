"""What a full queue refuses, it refuses before it reads."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from service.api.body import JSON, MULTIPART, PIXELS
from service.api.limits import Shedding
from service.engine.admission import Admission
from service.engine.job import Priority


async def passed_on(scope: Any, receive: Any, send: Any) -> None:
    """What the request is for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def unread() -> Message:
    raise AssertionError("the body is read")


def asked(
    admission: Admission, path: str = "/predict", method: str = "POST", query: bytes = b"", **headers: str
) -> dict[str, Any]:
    """The start of the answer to a request."""
    sent: list[Any] = []

    async def send(message: Message) -> None:
        sent.append(message)

    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": method, "query_string": query, "headers": told}
    asyncio.run(Shedding(passed_on, admission, ["/predict"], max_images=8)(scope, unread, send))
    start: dict[str, Any] = sent[0]
    return start


@pytest.fixture
def full() -> Admission:
    """A queue that is full at the normal priority."""
    admission = Admission(8)
    admission.seconds_per_row = 1.5
    admission.enter(8, Priority.normal)
    return admission


def test_what_has_no_room_is_refused_unread_and_told_when_to_ask_again(full: Admission) -> None:
    start = asked(full)
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert headers[b"retry-after"] == b"12"
    assert headers[b"content-type"] == b"application/problem+json"
    assert full.refused == 1


def test_every_refusal_is_told_the_time_of_then(full: Admission) -> None:
    waits = []
    for seconds in (1.0, 2.0, 1.0):
        full.seconds_per_row = seconds
        waits.append(dict(asked(full)["headers"])[b"retry-after"])
    assert waits == [b"8", b"16", b"8"]
    assert full.refused == 3


def test_what_the_engine_does_not_compute_is_passed_on(full: Admission) -> None:
    for path, method in (("/health/ready", "GET"), ("/models", "GET"), ("/predict", "GET")):
        assert asked(full, path, method)["status"] == 200
    assert full.refused == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (b"", 429),
        (b"priority=normal", 429),
        (b"priority=low", 429),
        (b"priority=high", 200),
        (b"tolerance=1&priority=high", 200),
    ],
)
def test_the_priority_counts_before_the_body_is_read(full: Admission, query: bytes, status: int) -> None:
    assert asked(full, query=query)["status"] == status


def test_a_list_for_which_there_is_no_room_is_refused_by_its_length_alone(full: Admission) -> None:
    full.leave(4, Priority.normal)
    told = {rows: asked(full, content_type=PIXELS, content_length=str(784 * rows))["status"] for rows in (1, 4, 5)}
    assert told == {1: 200, 4: 200, 5: 429}


@pytest.mark.parametrize("content_type", [JSON, "image/png", MULTIPART])
def test_a_body_whose_length_says_nothing_of_its_images_is_read(full: Admission, content_type: str) -> None:
    full.leave(4, Priority.normal)
    assert asked(full, content_type=content_type, content_length="100000")["status"] == 200


@pytest.mark.parametrize("content_length", ["", "many", "-1", "0"])
def test_a_length_that_is_none_is_not_gone_by(full: Admission, content_length: str) -> None:
    full.leave(4, Priority.normal)
    assert asked(full, content_type=PIXELS, content_length=content_length)["status"] == 200


def test_as_soon_as_there_is_room_it_is_passed_on(full: Admission) -> None:
    full.leave(1, Priority.normal)
    assert asked(full)["status"] == 200
