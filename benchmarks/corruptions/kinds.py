"""The kinds of corruption: 26 of the 31 that MNIST-C's authors considered (Mu and Gilmer 2019, arXiv 1906.02337).

They published 15 of the 31 as MNIST-C (`CHOSEN`), and their program has all of them, each with the severity that they
use. These 26 are written anew from what each one does, at those severities. Five are left out:

- *pessimal noise* needs a matrix that its authors computed from a fitted network;
- *frost* needs their photographs of frost;
- *saturate* changes colours, of which a grey digit has none;
- *gaussian blur* and *line* are all but *defocus blur* and *dotted line*, which are among the 26.

Three are not quite the same: *motion blur* and *snow* use ImageMagick's motion blur there and a filter of this module's
here, *fog* another fractal surface, and *canny edges* compares each gradient with two of its eight neighbours where
scikit-image interpolates between them.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.corruptions import blur, geometry, noise, processing, strokes, weather
from benchmarks.corruptions.sampling import Levels
from models.backends.answer import Images

Corruption = Callable[[Levels, np.random.Generator], Levels]

CHOSEN: dict[str, Corruption] = {
    "shot noise": noise.shot_noise,
    "impulse noise": noise.impulse_noise,
    "glass blur": blur.glass_blur,
    "motion blur": blur.motion_blur,
    "shear": geometry.shear,
    "scale": geometry.scale,
    "rotate": geometry.rotate,
    "brightness": processing.brightness,
    "translate": geometry.translate,
    "stripe": processing.stripe,
    "fog": weather.fog,
    "spatter": weather.spatter,
    "dotted line": strokes.dotted_line,
    "zigzag": strokes.zigzag,
    "canny edges": processing.canny_edges,
}
"""The 15 kinds of the published MNIST-C."""

KINDS: dict[str, Corruption] = CHOSEN | {
    "gaussian noise": noise.gaussian_noise,
    "speckle noise": noise.speckle_noise,
    "defocus blur": blur.defocus_blur,
    "zoom blur": blur.zoom_blur,
    "snow": weather.snow,
    "contrast": processing.contrast,
    "jpeg compression": processing.jpeg_compression,
    "pixelate": processing.pixelate,
    "elastic transform": geometry.elastic_transform,
    "quantize": processing.quantize,
    "inverse": processing.inverse,
}
"""All 26 kinds."""


def corrupt(kind: str, images: Images, seed: int) -> Images:
    """Corrupt digits.

    Args:
        kind: a name of `KINDS`.
        images: ``[rows, 28, 28]`` of uint8, white ink on black; at least one row.
        seed: for what the kind draws at random; the same seed gives the same images.

    Returns:
        uint8 ``[rows, 28, 28]``.
    """
    corrupted = KINDS[kind](images / 255, np.random.default_rng([seed, list(KINDS).index(kind)]))
    return (255 * np.clip(corrupted, 0, 1)).round().astype(np.uint8)
