"""Evens out a background of bands: parts of the paper side by side, each with a level of its own."""

import numpy as np
import numpy.typing as npt

from service.images.paper import WIDEST, Pixels

FINE = 28  # the step between two bands is narrower than the picture's width divided by this
STEP = 0.5  # the step is higher than this part of the picture's range of levels
ALONG = 0.6  # the step is seen in at least this part of the picture's height; a stroke on the step hides it
ROWS = 64  # a step is searched in fewer than twice this many rows


def without_bands(levels: Pixels) -> Pixels | None:
    """The difference of each pixel from the paper of its band; None if the background has no bands.

    A band reaches from the top to the bottom, or from the left to the right. Ink can be lighter than one band and
    darker than the next, so we take the absolute difference. The level of a band is the level at its two ends.

    The straight edge of a stroke can reach from one side of the picture to the other too, if the digit was cut out
    along its box. Therefore the bands must be wider than any stroke.

    Args:
        levels: uint8 ``[height, width, channels]``.

    Returns:
        uint8 ``[height, width, channels]``, 0 for paper.
    """
    for turned in (levels, levels.transpose(1, 0, 2)):
        lighter = _steps(turned)
        if lighter.any():
            even = _difference(turned, lighter != 0)
            return even if turned is levels else even.transpose(1, 0, 2)
    return None


def _reach(width: int) -> int:
    """The number of columns that a step between two bands extends over."""
    return max(1, round(width / FINE))


def _steps(levels: Pixels) -> npt.NDArray[np.int_]:
    """Where the steps between bands begin: 1 for a step to a lighter band, -1 to a darker one; all 0 without bands."""
    height, width = levels.shape[:2]
    reach = _reach(width)
    grey = levels[:: max(1, height // ROWS)].mean(axis=2)
    if reach >= width or height < 2:
        return np.zeros(width, np.int_)
    least = STEP * np.ptp(grey)
    rise = grey[:, reach:] - grey[:, :-reach]
    ends = np.sign(rise[0]) * (np.minimum(np.abs(rise[0]), np.abs(rise[-1])) > least) * (rise[0] * rise[-1] > 0)
    seen = (np.abs(rise) > least).mean(axis=0)
    signs = np.where(seen >= ALONG, ends, 0).astype(np.int_)
    steps, at = np.zeros(width, np.int_), 0
    for end in [*np.flatnonzero(np.diff(signs)) + 1, len(signs)]:
        steps[(at + end - 1) // 2] = signs[at]
        at = end
    return steps if _wide(steps, max(levels.shape)) else np.zeros_like(steps)


def _wide(steps: npt.NDArray[np.int_], longer: int) -> bool:
    """Whether steps go up and down in turn, and the bands are wider than any stroke.

    The light bands, and the dark bands, may be wide together if a band lies at a side of the picture. A band between
    two others must itself be wide, so that the lines of a grid are no bands.
    """
    signs = steps[steps != 0]
    if len(signs) == 0 or (signs[1:] == signs[:-1]).any():
        return False
    light = np.cumsum(steps) + (signs[0] < 0)
    widths = [np.count_nonzero(light), np.count_nonzero(light == 0), *np.diff(np.flatnonzero(steps))]
    return int(min(widths)) * WIDEST >= longer


def _difference(levels: Pixels, steps: npt.NDArray[np.bool_]) -> Pixels:
    """The absolute difference of each pixel from the level at the ends of its column, bridged over the steps."""
    reach = _reach(levels.shape[1])
    ends = np.concatenate([levels[:reach], levels[-reach:]])
    away = np.abs(levels - np.median(ends, axis=0))
    for start in np.flatnonzero(steps):
        share = (np.arange(1, reach) / reach)[:, np.newaxis]
        away[:, start + 1 : start + reach] = (
            away[:, start, np.newaxis] * (1 - share) + away[:, start + reach, np.newaxis] * share
        )
    differences: Pixels = np.rint(away).astype(np.uint8)
    return differences
