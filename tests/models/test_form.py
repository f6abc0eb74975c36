"""MNIST's form: the ink fits a box of 20x20 pixels, and its centre of mass is at the centre."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.form import BOX, CENTRE, SIDE, Ink, to_form


def cropped(ink: Ink) -> Ink:
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    return np.ascontiguousarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


INK = (
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        elements=st.just(0) | st.floats(1, 4, width=32),
        fill=st.just(0),
    )
    .filter(lambda ink: bool(ink.any()))
    .map(cropped)
)


@given(INK)
def test_ink_of_any_size_and_scale_is_scaled_and_centred(ink: Ink) -> None:
    digit = to_form(ink)
    assert digit.shape == (SIDE, SIDE)
    assert digit.dtype == np.uint8
    assert digit.max() == 255
    for axis in (1, 0):
        along = np.flatnonzero(digit.any(axis=axis))
        assert np.ptp(along) < BOX
        centre = np.average(np.arange(SIDE), weights=digit.sum(axis=axis, dtype=float))
        assert abs(centre - CENTRE) <= 0.55 or along[0] == 0 or along[-1] == SIDE - 1, "an edge may limit it"


@given(INK, st.sampled_from([0.25, 2, 8]))
def test_the_scale_of_the_ink_does_not_change_the_picture(ink: Ink, factor: float) -> None:
    assert np.array_equal(to_form(ink), to_form(ink * np.float32(factor)))
