"""Lists of numbers from JSON as arrays."""

from array import array
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt


def numbers(data: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """An array of a shape from a list, flat or nested.

    What is no number is refused before there is an array: NumPy would make each place as wide as the longest text.

    Raises:
        ValueError: it is not of that shape, or something in it is no number.
    """
    values = data if isinstance(data, list) else []
    if values and isinstance(values[0], list):
        for length in shape[1:]:
            if not all(isinstance(value, list) and len(value) == length for value in values):
                raise ValueError("lists of other lengths")
            values = list(chain.from_iterable(values))
    if len(values) != prod(shape):
        raise ValueError("another number of values")
    try:
        return np.frombuffer(array("d", values)).reshape(shape)
    except (TypeError, OverflowError) as error:
        raise ValueError("something that is no number") from error
