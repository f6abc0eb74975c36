"""An estimate of a quantile of values that come one after the other."""

from service.engine.tuning import QUANTILE_RATE


class Quantile:
    """A quantile of the latest values: it rises a little with each larger value, and falls with each smaller one.

    The steps are relative, and such that both balance at the quantile (Robbins and Monro, 1951).

    Args:
        rank: the quantile, 0..1.
        value: the estimate before the first value; greater than 0.
        largest: the limit of the estimate.

    Attributes:
        value: the estimate.
    """

    def __init__(self, rank: float, value: float, largest: float = float("inf")) -> None:
        self.value = value
        self._rise, self._fall = 1 + QUANTILE_RATE * rank, 1 - QUANTILE_RATE * (1 - rank)
        self._largest = largest

    def add(self, value: float) -> None:
        """Count a value."""
        self.value = min(self.value * (self._rise if value > self.value else self._fall), self._largest)
