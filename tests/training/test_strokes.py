"""Strokes: the notation of a glyph, and its drawing."""

import itertools
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.form import Digit
from training.glyphs import DIGITS, LETTERS, OTHERS
from training.strokes import Hand, draw, parse, random_hand

STEADY = Hand(pen=2, jitter=0, slant=0, turn=0, aspect=1, pressure=0, dry=0)
BAR = ("50,0 / 50,100",)
CROSS = ("50,0 / 50,100", "0,50 / 100,50")

point = st.tuples(st.integers(0, 100), st.integers(0, 100))


def drawn(glyph: tuple[str, ...], seed: int = 0, **changes: float) -> Digit:
    return draw(glyph, STEADY._replace(**changes), np.random.default_rng(seed))


def width(picture: Digit) -> float:
    """The width of the ink in the middle row, in pixels."""
    return float(picture[14].sum()) / 255


@given(st.lists(st.lists(point, min_size=1, max_size=4), min_size=1, max_size=4))
def test_neighbouring_arcs_share_a_corner(parts: list[list[tuple[int, int]]]) -> None:
    text = " / ".join(" ".join(f"{x},{y}" for x, y in part) for part in parts)
    if sum(map(len, parts)) < 2:
        with pytest.raises(ValueError, match="at least two points"):
            parse(text)
        return
    arcs = parse(text)
    passed = [tuple(arcs[0][0])] + [tuple(p) for arc in arcs for p in arc[1:]]
    assert passed == [p for part in parts for p in part]
    for before, after in itertools.pairwise(arcs):
        assert tuple(before[-1]) == tuple(after[0])


@given(st.text(string.digits + ", /.-x", max_size=12))
def test_other_text_is_refused(text: str) -> None:
    """Any text is either parsed into valid arcs or refused with a ValueError."""
    try:
        arcs = parse(text)
    except ValueError:
        return
    assert all(arc.shape[1] == 2 and len(arc) >= 2 for arc in arcs)


def test_a_corner_is_sharp_and_a_curve_is_round() -> None:
    """A corner and a curve pass through the same points, but the curve goes further out."""
    corner, curve = drawn(("0,0 / 100,0 / 100,100",)), drawn(("0,0 100,0 100,100",))
    assert (corner > 0).sum() != (curve > 0).sum()


@pytest.mark.parametrize("pen", [1.0, 2.0, 4.0, 6.0])
def test_a_stroke_has_the_width_of_the_pen(pen: float) -> None:
    assert width(drawn(BAR, pen=pen)) == pytest.approx(pen, abs=0.3)


def test_pictures_have_the_mnist_form() -> None:
    for seed in range(20):
        picture = draw(CROSS, random_hand(np.random.default_rng(seed)), np.random.default_rng(seed)).astype(float)
        box = [np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0)]
        assert max(np.ptp(side) + 1 for side in box) in (19, 20)
        assert picture.max() == 255
        for axis in (0, 1):
            assert abs(np.average(np.arange(28), weights=picture.sum(axis=axis)) - 14) <= 1


def test_a_positive_slant_leans_to_the_right() -> None:
    picture = drawn(BAR, slant=0.5).astype(float)
    columns = np.arange(28)
    top, bottom = (np.average(columns, weights=picture[rows].sum(0)) for rows in (slice(4, 9), slice(19, 24)))
    assert top - bottom > 5


def test_the_aspect_changes_the_ratio_of_width_to_height() -> None:
    box = [np.flatnonzero(drawn(CROSS, aspect=2.0).any(axis=axis)) for axis in (1, 0)]
    height, across = (float(np.ptp(side)) for side in box)
    assert across / height == pytest.approx(2, rel=0.15)


def test_jitter_pressure_and_dry_ink_are_random() -> None:
    for changes in ({"jitter": 0.05}, {"pressure": 0.5}, {"dry": 0.5}):
        one, again, other = (drawn(CROSS, seed, **changes) for seed in (1, 1, 2))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)
    assert np.array_equal(drawn(CROSS, 1), drawn(CROSS, 2))


def test_jitter_moves_a_point_of_two_strokes_once() -> None:
    """Two strokes that share a corner still meet after the corner is moved."""
    two = draw(("0,0 / 50,100", "50,100 / 100,0"), STEADY._replace(jitter=0.2), np.random.default_rng(3))
    one = draw(("0,0 / 50,100 / 100,0",), STEADY._replace(jitter=0.2), np.random.default_rng(3))
    assert np.abs(two.astype(int) - one.astype(int)).max() <= 8


def test_every_glyph_can_be_drawn() -> None:
    glyphs = [glyph for glyphs_of_digit in DIGITS.values() for glyph in glyphs_of_digit] + [*LETTERS, *OTHERS]
    assert list(DIGITS) == list(range(10))
    assert len(glyphs) == len(set(glyphs)), "every glyph is listed once"
    for glyph in glyphs:
        share = (drawn(glyph) > 127).mean()
        assert 0.03 < share < 0.3, glyph
