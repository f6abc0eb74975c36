"""Selects the library whose functions fit an array: NumPy, or torch through array_api_compat."""

from typing import Any

import array_api_compat
import numpy as np

from models.solvers.attempt import Array


def array_namespace(array: Array) -> Any:
    """The array API namespace of an array (https://data-apis.org/array-api).

    NumPy implements the standard itself, so it needs no wrapper. The NumPy wrapper of array_api_compat would import all
    of NumPy, including its Fortran tools, and delay each start of the service by a tenth of a second or more.
    """
    return np if isinstance(array, np.ndarray) else array_api_compat.array_namespace(array)
