"""Simulates the effects of pens, lenses, light and sensors on digits, for a whole batch at once.

Every change takes images ``[rows, 28, 28]`` of float32 in 0..255 and one amount per row, and returns images of the same
shape.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from models.form import BOX, SIDE
from training.chance import Chance, at_most, normal, uniform

WHITE = 255.0
REACH = 5
"""The distance from the centre of a point spread function to its edge, in pixels."""
FOG_POINTS = (3, 6)
"""The sides of the two square grids of random values from which the fog is interpolated."""
CLIPPED = 0.4
"""The share of the range of levels that may be cut off at either end."""
CORNERS = 12
"""The number of corners of a scribble."""


class Appearance(BaseModel):
    """How often and how strongly the appearance of an image is changed. The changes are drawn independently.

    Attributes:
        thickness: strokes become thicker or thinner by up to this many pixels on each side.
        outline: only the outline of the ink remains, drawn by a pen of up to this many pixels; None outlines no image.
        line: a straight line across the image, solid or dashed, up to this many pixels wide.
        scribble: a jagged line across the image, up to this many pixels wide; None draws no such line.
        inversion: black and white are swapped in a band of up to this many pixels, in a rectangle or outside of them;
            None swaps them in no image.
        cutout: a rectangle of paper with sides of up to this many pixels (DeVries and Taylor 2017, arXiv 1708.04552).
        defocus: the radius, in pixels, of the disc into which a point is blurred.
        motion: the length, in pixels, of the straight line into which a point is blurred.
        fog: the greatest share of a pixel's light that is replaced by the light of an uneven fog or shadow.
        noise: the standard deviation of normal noise, as a share of 255.
        specks: the share of pixels that get a random level.
        levels: the share of the contrast that is lost. Levels also get a gamma curve, a shift, clipping and rounding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thickness: Annotated[Chance, at_most(2)]
    outline: Annotated[Chance, at_most(SIDE)] | None = None
    line: Annotated[Chance, at_most(SIDE)]
    scribble: Annotated[Chance, at_most(SIDE)] | None = None
    inversion: Annotated[Chance, at_most(SIDE)] | None = None
    cutout: Annotated[Chance, at_most(SIDE)]
    defocus: Annotated[Chance, at_most(REACH)]
    motion: Annotated[Chance, at_most(2 * REACH)]
    fog: Annotated[Chance, at_most(1)]
    noise: Annotated[Chance, at_most(1)]
    specks: Annotated[Chance, at_most(1)]
    levels: Annotated[Chance, at_most(0.99)]


def change(images: Tensor, appearance: Appearance, generator: torch.Generator) -> Tensor:
    """Change the appearance of some rows.

    Args:
        images: ``[rows, 28, 28]`` of float32 in 0..255.
        appearance: the changes, their probabilities and their greatest amounts.
        generator: the only source of randomness, on the images' device.

    Returns:
        Images of the same shape and type. Rows for which no change is drawn are unchanged.
    """
    for field, function in CHANGES.items():
        chance: Chance | None = getattr(appearance, field)
        if chance is None:
            continue
        amount = chance.draw(len(images), generator)
        indices = amount.nonzero().squeeze(1)
        if len(indices):
            changed = function(images[indices], amount[indices], generator).clamp(0, WHITE)
            images = images.index_copy(0, indices, changed)
    return images


def _thickness(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Move each pixel towards the greatest or the least level of itself and its four neighbours.

    Thickening by more than one pixel takes a second pass. Thinning is limited to half a pixel, so thin strokes remain.
    """
    thinner = uniform(len(images), 1, 1, generator=generator) < 0.5
    sign = torch.where(thinner, -1.0, 1.0)
    pixels = torch.where(thinner, amount.view(-1, 1, 1).clamp(max=0.5), amount.view(-1, 1, 1))
    images = images * sign
    for weight in (pixels.clamp(max=1), (pixels - 1).clamp(0, 1)):
        across, along = F.max_pool2d(images, (1, 3), 1, (0, 1)), F.max_pool2d(images, (3, 1), 1, (1, 0))
        images = torch.lerp(images, torch.maximum(across, along), weight)
    return images * sign


def _outline(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the outline of the ink, like the hollow letters of a sign, instead of the ink.

    The outline is where the smoothed level equals a threshold. The distance of a pixel from the outline is about the
    difference from the threshold divided by the gradient (Taubin 1994, *Distance approximations for rasterizing
    implicit curves*).
    """
    softness, height = uniform(2, len(images), 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.avg_pool2d(images, 3, 1, 1), 3, 1, 1)
    smooth = torch.lerp(images, blurred, softness)
    threshold = (0.15 + 0.4 * height) * smooth.amax((1, 2), keepdim=True).clamp(min=WHITE / 10)
    padded = F.pad(smooth, (1, 1, 1, 1))
    down, right = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2, (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    distance = (smooth - threshold).abs() / down.hypot(right).clamp(min=1)
    ink: Tensor = (amount.view(-1, 1, 1) / 2 + 0.5 - distance).clamp(0, 1)
    return WHITE * ink


def _line(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a nearly horizontal or nearly vertical line, like those of ruled paper and of the cells of a form."""
    tilt, direction, position, level, period, phase, dashed = uniform(7, len(images), 1, 1, generator=generator)
    angle = math.radians(10) * (tilt - 0.5) + torch.where(direction < 0.5, 0.0, math.pi / 2)
    along, across = _rotated_coordinates(SIDE, angle)
    across = across - (position - 0.5) * SIDE
    ink = (amount.view(-1, 1, 1) / 2 + 0.5 - across.abs()).clamp(0, 1)
    wave = torch.sin(2 * math.pi * (along / (3 + 6 * period) + phase))
    ink = torch.where(dashed < 0.5, ink * (0.5 + 2 * wave).clamp(0, 1), ink)
    return torch.maximum(images, WHITE * (0.4 + 0.6 * level) * ink)


def _scribble(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a jagged line in any direction. Its corners lie on both sides in turn, at random distances."""
    turn, position, shift, step, height, level = uniform(6, len(images), 1, 1, generator=generator)
    along, across = _rotated_coordinates(SIDE, 2 * math.pi * turn)
    pixels = torch.stack([along, across - (position - 0.5) * 0.8 * SIDE], dim=3).unsqueeze(1)
    corner = torch.arange(CORNERS, device=images.device).view(1, 1, -1)
    side = 1 - 2 * (corner % 2)
    reached = (corner - (CORNERS - 1) / 2) * (2 + 4 * step) + (shift - 0.5) * SIDE
    beside = side * (1 + 4 * height) * uniform(len(images), 1, CORNERS, generator=generator)
    corners = torch.stack([reached, beside], dim=3).squeeze(1)[:, :, None, None]  # [rows, corners, 1, 1, 2]
    first, edge = corners[:, :-1], corners[:, 1:] - corners[:, :-1]
    share = ((pixels - first) * edge).sum(4, keepdim=True) / edge.square().sum(4, keepdim=True)
    distance = (pixels - first - share.clamp(0, 1) * edge).norm(dim=4).amin(1)
    ink = (amount.view(-1, 1, 1) / 2 + 0.5 - distance).clamp(0, 1)
    return torch.maximum(images, WHITE * (0.4 + 0.6 * level) * ink)


def _inversion(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Swap black and white in a part of the image, as where a digit crosses a dark stripe or the edge of a table.

    The part is a band across the image in any direction, half of the time upright, or a rectangle, or all but these.
    """
    turn, upright, x, y, length, outside = uniform(6, len(images), 1, 1, generator=generator)
    angle = math.pi * torch.where(upright < 0.5, (2 * turn).floor() / 2, turn)
    along, across = _rotated_coordinates(SIDE, angle)
    within = (across - (x - 0.5) * SIDE).abs() < amount.view(-1, 1, 1) / 2
    within &= (along - (y - 0.5) * SIDE).abs() < torch.where(length < 0.5, 2.0 * SIDE, length * SIDE / 2)
    return torch.where(within ^ (outside < 0.5), WHITE - images, images)


def _cutout(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Erase a rectangle whose centre is in the middle 20x20 pixels of the image, where the digit is."""
    x, y, width, height = uniform(4, len(images), 1, generator=generator)
    pixel, margin = torch.arange(SIDE, device=images.device), (SIDE - BOX) / 2
    most = amount.view(-1, 1)
    outside_x = (pixel - margin - BOX * x).abs() > most * (0.5 + width) / 3
    outside_y = (pixel - margin - BOX * y).abs() > most * (0.5 + height) / 3
    kept: Tensor = outside_x.unsqueeze(1) | outside_y.unsqueeze(2)
    return images * kept


def _defocus(images: Tensor, amount: Tensor, _generator: torch.Generator) -> Tensor:
    along, across = _rotated_coordinates(2 * REACH + 1, torch.zeros(1, 1, 1, device=images.device))
    return _spread(images, (amount.view(-1, 1, 1) + 0.5 - along.hypot(across)).clamp(0, 1))


def _motion(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    along, across = _rotated_coordinates(2 * REACH + 1, math.pi * uniform(len(images), 1, 1, generator=generator))
    inside = (amount.view(-1, 1, 1) / 2 + 0.5 - along.abs()).clamp(0, 1)
    return _spread(images, inside * (1 - across.abs()).clamp(0, 1))


def _fog(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    """Koschmieder's law (1924): a share t of a pixel's light arrives, and the share 1 - t is the light of the fog."""
    density = torch.zeros(len(images), 1, SIDE, SIDE, device=images.device)
    for points in FOG_POINTS:
        grid = uniform(len(images), 1, points, points, generator=generator) / points
        density = density + F.interpolate(grid, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    density = density.squeeze(1)
    least, greatest = density.amin((1, 2), keepdim=True), density.amax((1, 2), keepdim=True)
    lost = amount.view(-1, 1, 1) * (density - least) / (greatest - least)
    light = WHITE * uniform(len(images), 1, 1, generator=generator).sqrt()
    return torch.lerp(images, light.expand_as(images), lost)


def _noise(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    return images + WHITE * amount.view(-1, 1, 1) * normal(*images.shape, generator=generator)


def _specks(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    where, level = uniform(2, *images.shape, generator=generator)
    return torch.where(where < amount.view(-1, 1, 1), WHITE * level, images)


def _levels(images: Tensor, amount: Tensor, generator: torch.Generator) -> Tensor:
    bend, shift = uniform(2, len(images), 1, 1, generator=generator)
    gamma = torch.exp2((2 * bend - 1) * amount.view(-1, 1, 1))
    contrast = 1 - amount.view(-1, 1, 1)
    lowest = torch.lerp(-CLIPPED * contrast, 1 - (1 - CLIPPED) * contrast, shift)
    bent = (images / WHITE).clamp(0, 1).pow(gamma)
    return (WHITE * (lowest + contrast * bent)).round()


CHANGES = {  # in the order in which they are applied
    "thickness": _thickness,
    "outline": _outline,
    "line": _line,
    "scribble": _scribble,
    "inversion": _inversion,
    "cutout": _cutout,
    "defocus": _defocus,
    "motion": _motion,
    "fog": _fog,
    "noise": _noise,
    "specks": _specks,
    "levels": _levels,
}


def _rotated_coordinates(side: int, angle: Tensor) -> tuple[Tensor, Tensor]:
    """The coordinates of the pixels of a square, relative to its centre, along a direction and across it.

    Args:
        side: the side of the square, in pixels.
        angle: the angle of the direction, in radians, ``[rows, 1, 1]``.
    """
    offset = torch.arange(side, device=angle.device) - (side - 1) / 2
    x, y = offset.view(1, 1, -1), offset.view(1, -1, 1)
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()


def _spread(images: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each image with its own point spread function, ``[rows, 11, 11]``, normalised to the sum 1."""
    kernel = (kernel / kernel.sum((1, 2), keepdim=True)).expand(len(images), -1, -1)
    blurred = F.conv2d(images.unsqueeze(0), kernel.unsqueeze(1), padding=REACH, groups=len(images))
    return blurred.squeeze(0)
