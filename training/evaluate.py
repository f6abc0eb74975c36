"""What a network answers on a split, and how often it is wrong."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ErrorRate:
    """Errors among rows, with the interval in which the true rate lies with 95 % confidence (Wilson 1927)."""

    errors: int
    rows: int

    @property
    def rate(self) -> float:
        """The share of rows that are wrong."""
        return self.errors / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval at 95 %."""
        from scipy.stats import binomtest  # noqa: PLC0415 (takes a second to import, and a fit does not need it)

        low, high = binomtest(self.errors, self.rows).proportion_ci(method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rate:.2%} ({self.errors:,} of {self.rows:,}; 95 % interval {low:.2%} to {high:.2%})"


def error_rate(digits: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> ErrorRate:
    """Count the digits that differ from their labels."""
    return ErrorRate(int((digits != labels).sum()), len(labels))
