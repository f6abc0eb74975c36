"""The error rate of a network on a split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ErrorRate:
    """The number of errors among a number of rows, with the Wilson 95 % confidence interval (Wilson 1927).

    Attributes:
        errors: the number of rows that are classified wrongly.
        rows: the number of rows.
    """

    errors: int
    rows: int

    @property
    def rate(self) -> float:
        """The share of rows that are classified wrongly."""
        return self.errors / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval at 95 %: its lower and upper end."""
        from scipy.stats import binomtest  # noqa: PLC0415 (the import takes a second, and a fit does not need it)

        low, high = binomtest(self.errors, self.rows).proportion_ci(method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rate:.2%} ({self.errors:,} of {self.rows:,}; 95 % interval {low:.2%} to {high:.2%})"


def error_rate(digits: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> ErrorRate:
    """Count the digits ``[rows]`` that differ from their labels ``[rows]``."""
    return ErrorRate(int((digits != labels).sum()), len(labels))
