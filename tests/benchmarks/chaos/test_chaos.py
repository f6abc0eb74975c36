"""The hostile requests are what their names say, and the fuzzers change the same bytes for the same seed."""

import random

import numpy as np
import pytest

from benchmarks.chaos import hostile
from benchmarks.chaos.fuzz import changed
from benchmarks.serving.requests import Digits
from service.api.body import Body, parse
from service.api.query import read_query
from service.errors import InvalidError, TooLargeError
from service.inference.background import Work, finish
from service.inference.data_plane import InferenceRequest
from service.settings import Settings
from tests.digits import load_test_set

IMAGES, LABELS = load_test_set()
DIGITS = Digits(IMAGES[:2], LABELS[:2].astype(np.int64))


def read(attack: hostile.Hostile) -> InferenceRequest:
    """What the service makes of a hostile request."""
    content = attack.make(DIGITS)
    assert len(content) <= Settings().max_body_bytes, "otherwise its length alone is a reason to refuse it"
    query = read_query(attack.query.encode())
    media_type = attack.media_type.partition(";")[0]
    work: InferenceRequest | Work[InferenceRequest] = parse(
        Body(media_type, attack.media_type, content), query, Settings()
    )
    return work if isinstance(work, InferenceRequest) else finish(work)


REFUSED = {
    hostile.tall_png: "the limit of a side",
    hostile.png_of_chunks: "at most 4,000 are read",
    hostile.jpeg_of_segments: "at most 4,000 reads",
    hostile.padded_jpeg: "at most 4,000 reads",
    hostile.json_of_names: "at most 201,704 values",
    hostile.long_numbers: "bytes outside of texts",
    hostile.form_of_parts: "images: at most 256",
}


@pytest.mark.parametrize(
    "attack", [each for each in hostile.HOSTILE if each.make in REFUSED], ids=lambda each: each.name
)
def test_a_hostile_request_is_refused_by_its_limit(attack: hostile.Hostile) -> None:
    with pytest.raises(TooLargeError, match=REFUSED[attack.make]):
        read(attack)


def test_256_images_of_which_one_is_wrong_are_refused_without_computation() -> None:
    with pytest.raises(InvalidError, match="row 27, column 27 holds 256"):
        read(next(each for each in hostile.HOSTILE if each.make is hostile.wrong_images))


def test_a_seed_decides_about_all_changes() -> None:
    content = IMAGES[0].tobytes()

    def changes(seed: int) -> list[bytes]:
        dice = random.Random(seed)  # noqa: S311 (no secret)
        return [changed(dice, content) for _ in range(20)]

    assert changes(1) == changes(1)
    assert changes(1) != changes(2)
    assert len({*changes(1), content}) > 10
