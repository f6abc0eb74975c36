"""The namespace of functions that fits an array: NumPy's, or torch's through array_api_compat."""

from typing import Any

import array_api_compat
import numpy as np

from models.solvers.attempt import Array


def array_namespace(array: Array) -> Any:
    """The namespace of an array, by the array API standard (https://data-apis.org/array-api).

    NumPy implements the standard by itself. The wrapper of array_api_compat around NumPy would import all of NumPy,
    its Fortran tools among it, and would delay each start of the service by a tenth of a second or more.
    """
    return np if isinstance(array, np.ndarray) else array_api_compat.array_namespace(array)
