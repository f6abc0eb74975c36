"""Converts lists of numbers from JSON to arrays."""

from array import array
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt


def numbers(data: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Convert a flat or nested list of numbers to an array of a shape.

    We look at the types before NumPy does. Otherwise, one long string would make NumPy reserve the length of this
    string for every element.

    Raises:
        ValueError: the list does not have this shape, or a value is not a number.
    """
    values = data if isinstance(data, list) else []
    if values and isinstance(values[0], list):
        for length in shape[1:]:
            if not all(isinstance(value, list) and len(value) == length for value in values):
                raise ValueError("a nested list has the wrong length")
            values = list(chain.from_iterable(values))
    if len(values) != prod(shape):
        raise ValueError("the number of values is wrong")
    types = set(map(type, values))
    if bool in types:  # Python would take true for 1
        raise ValueError("a value is a boolean, and a boolean is no number")
    if not types <= {int, float}:
        raise ValueError("a value is not a number")
    try:
        return np.frombuffer(array("d", values)).reshape(shape)
    except OverflowError as error:
        raise ValueError("a value is not a number that fits 64 bits") from error
