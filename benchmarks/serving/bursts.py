"""Arrivals that are bursty at every scale, and the replay of recorded arrivals.

The arrivals are a Markov-modulated Poisson process. Its rate is the mean rate times one factor for each of several time
scales. Each factor is low or high, and is drawn again at random times: at a rate of one over its scale (the
Markov-switching multifractal of Calvet and Fisher, 2001). So there are bursts within bursts, from tens of milliseconds
to seconds.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]

SCALES = (0.05, 0.2, 0.8, 3.2)
"""Seconds after which each factor of the rate is drawn again, on average."""

SWING = 0.65
"""A factor is 1 minus or 1 plus this number. So the largest rate is 1.65 ** 4 = 7.4 times the mean."""

TICK = 0.001
"""Seconds in which the rate is constant."""

WINDOW = 0.05
"""Seconds in which we count arrivals for the peak."""


class Burstiness(NamedTuple):
    """How bursty arrivals are.

    Attributes:
        variation: the squared coefficient of variation of the gaps; 1 for a Poisson process.
        peak: the greatest number of arrivals in a window of `WINDOW`, relative to the mean.
    """

    variation: float
    peak: float


def bursts(rate: float, seconds: float, seed: int) -> Times:
    """Draw the arrivals of requests, in seconds from the start.

    The factors are scaled so that each run has its mean rate: otherwise the longest scale would decide the load.

    Args:
        rate: the mean rate, in requests per second.
        seconds: the duration.
        seed: the seed. Arrivals of the same seed and duration have the same bursts at any rate.
    """
    random = np.random.default_rng([seed, 3])
    ticks = round(seconds / TICK)
    level = np.ones(ticks)
    for scale in SCALES:
        drawn_again = random.random(ticks) < TICK / scale
        drawn_again[0] = True
        factors = random.choice([1 - SWING, 1 + SWING], drawn_again.sum())
        level *= factors[np.cumsum(drawn_again) - 1]
    counts = random.poisson(rate * TICK * level / level.mean())
    began = np.repeat(np.arange(ticks) * TICK, counts)
    times: Times = np.sort(began + TICK * random.random(len(began)))
    return times


def recorded(path: Path) -> Times:
    """Read arrivals: one time in seconds per line, in any order. The first arrival becomes the start.

    Raises:
        ValueError: a line is not a number, there are fewer than three lines, or all times are equal.
    """
    times: Times = np.sort(np.array([float(line) for line in path.read_text().split()]))
    if not np.isfinite(times).all():
        raise ValueError(f"{path}: must have one time in seconds per line")
    if len(times) < 3 or times[0] == times[-1]:
        raise ValueError(f"{path}: must have at least three times that are not all equal, but has {len(times)}")
    shifted: Times = times - times[0]
    return shifted


def burstiness(times: Times) -> Burstiness:
    """Measure how bursty arrivals are; at least three of them."""
    gaps = np.diff(times)
    counts = np.histogram(times, np.arange(times[0], times[-1] + WINDOW, WINDOW))[0]
    return Burstiness(float(gaps.var() / gaps.mean() ** 2), float(counts.max() / counts.mean()))
