"""The kinds of corruption: 26 of the 31 that the authors of MNIST-C considered (Mu and Gilmer 2019, arXiv 1906.02337).

The authors published 15 of the 31 kinds as the dataset MNIST-C (`CHOSEN`). Their program, google-research/mnist-c on
GitHub, has all 31, and a default severity for each. We wrote our 26 kinds from the description of each kind, at these
severities. Five kinds are left out:

- *pessimal noise* needs a matrix that the authors computed from fitted networks;
- *frost* needs the authors' photographs of frost;
- *saturate* is a change of colours; on a grey digit it is nearly a threshold, as *quantize* is;
- *gaussian blur* is nearly *defocus blur*, and *line* is nearly *dotted line*.

Six kinds differ a little from the authors' program:

- *motion blur* and *snow* use ImageMagick there, which repeats an image's edge; here everything outside is black;
- *fog* uses another fractal surface;
- *shear* is a pure shear, where scikit-image's also makes the digit 8 % taller;
- *canny edges* compares a gradient with two of its eight neighbours, where scikit-image interpolates between them;
- *zoom blur* enlarges by a fraction of a pixel, where the program there rounds to whole pixels.
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
        seed: the seed of the random numbers; the same seed gives the same images.

    Returns:
        uint8 ``[rows, 28, 28]``.
    """
    corrupted = KINDS[kind](images / 255, np.random.default_rng([seed, list(KINDS).index(kind)]))
    return (255 * np.clip(corrupted, 0, 1)).round().astype(np.uint8)
