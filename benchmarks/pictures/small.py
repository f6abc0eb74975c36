"""Pictures of 28x28 unlike MNIST: digits of paint programs, and MNIST's digits with changed levels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from benchmarks.pictures.ink import penned
from benchmarks.pictures.scenes import encode
from models.form import SIDE, Digit

Levels = npt.NDArray[np.float64]  # [28, 28], 0..255
Change = Callable[[Levels, np.random.Generator], Levels]

ENLARGED = 280  # pixels, the side at which a paint program's digit is drawn before it is reduced


def painted(digit: Digit, _label: int, rng: np.random.Generator) -> bytes:
    """A digit drawn in a paint program: a brush of 1 to 4 pixels, any size, any position, in black or in white."""
    ink = Image.fromarray(penned(digit, ENLARGED, rng.uniform(0.05, 0.14)).astype(np.float32))
    side = int(rng.integers(16, SIDE + 9))
    ink = ink.resize((side, side), Image.Resampling.HAMMING)
    spare = SIDE - side
    left, top = (int(rng.integers(min(0, spare) // 2, max(0, spare) + 1)) for _ in range(2))
    canvas = Image.new("F", (SIDE, SIDE))
    canvas.paste(ink, (left, top))
    levels = np.asarray(canvas)
    if rng.random() < 0.5:  # a brush without soft edges
        levels = levels > 0.5
    levels = np.clip(levels * 255, 0, 255).round().astype(np.uint8)
    return encode(Image.fromarray(levels if rng.random() < 0.5 else 255 - levels))


def changed(change: Change, quality: int | None = None) -> Callable[[Digit, int, np.random.Generator], bytes]:
    """Digits of MNIST with changed levels, optionally as a JPEG of a given quality."""

    def make(digit: Digit, _label: int, rng: np.random.Generator) -> bytes:
        levels = np.clip(change(digit.astype(float), rng), 0, 255).round().astype(np.uint8)
        return encode(Image.fromarray(levels), quality)

    return make


def moved(levels: Levels, rng: np.random.Generator) -> Levels:
    """Move by up to 4 pixels in each direction."""
    down, right = rng.integers(-4, 5, 2)
    return np.roll(levels, (int(down), int(right)), (0, 1))


def defocused(levels: Levels, rng: np.random.Generator) -> Levels:
    """Blur with a Gaussian filter whose sigma is 1 to 2 pixels."""
    blurred: Levels = gaussian_filter(levels, rng.uniform(1, 2))
    return blurred


def shaken(levels: Levels, rng: np.random.Generator) -> Levels:
    """Blur along a line of 5 to 9 pixels."""
    turned = Image.fromarray(levels.astype(np.float32)).rotate(angle := rng.uniform(0, 180), Image.Resampling.BICUBIC)
    blurred = gaussian_filter1d(np.asarray(turned, float), rng.uniform(1.5, 2.6), axis=1, truncate=1.73)
    back = Image.fromarray(blurred.astype(np.float32)).rotate(-angle, Image.Resampling.BICUBIC)
    return np.asarray(back, float)


def noisy(levels: Levels, rng: np.random.Generator) -> Levels:
    """Add normal noise with a standard deviation of 0.1 to 0.3 of the contrast."""
    return levels + rng.normal(0, 255 * rng.uniform(0.1, 0.3), levels.shape)


def peppered(levels: Levels, rng: np.random.Generator) -> Levels:
    """Replace each pixel with black or white, with a probability of 3 to 15 %."""
    chance, share = rng.random(levels.shape), rng.uniform(0.03, 0.15)
    return np.where(chance < share / 2, 0, np.where(chance < share, 255, levels))


def unchanged(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Return the levels unchanged."""
    return levels


def bright(levels: Levels, rng: np.random.Generator) -> Levels:
    """Brighten by 0.3 to 0.7 of the range, up to white."""
    return levels + 255 * rng.uniform(0.3, 0.7)


def faint(levels: Levels, rng: np.random.Generator) -> Levels:
    """Reduce the contrast to 0.05 to 0.3 of the range, at a random brightness."""
    contrast = rng.uniform(0.05, 0.3)
    return 255 * rng.uniform(0, 1 - contrast) + contrast * levels


def fogged(levels: Levels, rng: np.random.Generator) -> Levels:
    """Add a fog with patches of several sizes, which can be brighter than the ink."""
    fog = np.zeros((SIDE, SIDE))
    for grain in (14, 7, 3):
        fog += grain * _standardised(uniform_filter(rng.normal(size=(SIDE + 28,) * 2), grain)[14:-14, 14:-14])
    fog = (fog - fog.min()) / np.ptp(fog)
    under: Levels = (levels + 255 * rng.uniform(0.6, 1.2) * fog) / 1.6
    return under


def _standardised(levels: Levels) -> Levels:
    standardised: Levels = (levels - levels.mean()) / levels.std()
    return standardised
