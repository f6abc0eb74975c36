"""Lists of numbers from JSON become arrays."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from service.inference.numbers import numbers

HALVES = st.integers(-(2**40), 2**40).map(lambda number: number / 2)


@given(expected=arrays(np.float64, array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4), elements=HALVES))
def test_flat_and_nested_lists_are_converted(expected: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    for data in (expected.tolist(), expected.ravel().tolist()):
        read = numbers(data, expected.shape)
        assert read.dtype == np.float64
        np.testing.assert_array_equal(read, expected)


def test_integers_and_fractions_are_numbers() -> None:
    np.testing.assert_array_equal(numbers([1, 3, 2.5, -0.0], (2, 2)), [[1, 3], [2.5, 0]])


@given(data=st.lists(st.booleans() | st.integers(-1, 2), min_size=4, max_size=4))
def test_a_boolean_is_no_number(data: list[int | bool]) -> None:
    if any(isinstance(value, bool) for value in data):
        with pytest.raises(ValueError, match="a boolean is no number"):
            numbers(data, (2, 2))
    else:
        assert numbers(data, (4,)).tolist() == data


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "1234",
        {"0": 1},
        [],
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [[1, 2], [3]],
        [[1, 2], [3, 4, 5]],
        [[1, 2], 3],
        [1, [2], 3, 4],
        [1, 2, [3, 4]],
        [[1, 2, 3, 4]],
        [[[1, 2], [3, 4]]],
        [[[1], [2]], [[3], [4]]],
        ["1", 2, 3, 4],
        [1, 2, 3, None],
        [1, 2, 3, {}],
        [1, 2, 3, 10**400],
        [1, 2, 3, -(10**400)],
    ],
)
def test_a_wrong_shape_or_a_value_that_is_not_a_number_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"wrong length|number of values is wrong|not a number"):
        numbers(data, (2, 2))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(data=anything, shape=array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
def test_the_array_always_has_the_requested_shape(data: Any, shape: tuple[int, ...]) -> None:
    try:
        read = numbers(data, shape)
    except ValueError:
        return
    assert read.shape == shape


def test_a_long_text_among_numbers_does_not_allocate_a_wide_array() -> None:
    data: list[Any] = [0] * 783 + ["x" * 10**5]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not a number"):
            numbers(data, (28, 28))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**5
