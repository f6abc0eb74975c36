"""Augmentation of a whole batch at once: each image is moved by its own map, and its appearance may be changed.

The map is affine and elastic, and one resampling applies both parts.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.form import SIDE
from training.appearance import Appearance, change
from training.chance import Chance, uniform

PIXEL = 2 / SIDE
"""The width of a pixel in the coordinates of `grid_sample`, in which the image is [-1, 1]."""


class Far(BaseModel):
    """Moves some images further than the other images.

    Attributes:
        share: the probability that a row is moved further.
        factor: the rotation, scale, shear and shift of such a row are multiplied by this factor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(ge=0, le=1)
    factor: float = Field(ge=1, le=10)


class Augmentation(BaseModel):
    """How far an image may be moved, and how its appearance changes. Every amount is drawn separately for every row.

    Attributes:
        rotation: the greatest angle, in degrees; the angle is uniform in ± this.
        scale: the image is sampled at a step that is uniform in 1 ± this, drawn separately for each axis. The size of
            the image is multiplied by one over the step.
        shear: the greatest tangent of the shear's angle; the tangent is uniform in ± this.
        shift: the greatest shift on each axis, in pixels; the shift is uniform in ± this.
        elastic: the standard deviation, in pixels, of the displacement of each control point. Between the control
            points, the displacement is smaller.
        control_points: the elastic displacement is interpolated from a square grid with this many points per side
            (compare Simard, Steinkraus and Platt 2003, who smooth a displacement of every pixel).
        far: some images are moved further; None moves no image further.
        smaller: some images shrink: their size is divided by 1 + the amount; None shrinks no image.
        aspect: some images become wide or tall, by a ratio of up to 1 + the amount; None keeps every aspect ratio.
        appearance: changes the appearance of some images; None changes no image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = Field(ge=0, le=180)
    scale: float = Field(ge=0, lt=1)
    shear: float = Field(ge=0, le=1)
    shift: float = Field(ge=0, le=SIDE)
    elastic: float = Field(ge=0, le=SIDE)
    control_points: int = Field(ge=2, le=SIDE)
    far: Far | None = None
    smaller: Chance | None = None
    aspect: Chance | None = None
    appearance: Appearance | None = None


def augment(images: Tensor, amount: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each image by its own random affine and elastic map, and change the appearance of some images.

    Args:
        images: ``[rows, 28, 28]`` in 0..255, uint8 or floating.
        amount: how far the images are moved, and how they are changed.
        generator: the only source of randomness, on the images' device.

    Returns:
        ``[rows, 28, 28]`` of float32 in 0..255.
    """
    rows = len(images)
    affine = _affine(rows, amount, generator)
    grid = F.affine_grid(affine, [rows, 1, SIDE, SIDE], align_corners=False)
    control = torch.randn(
        rows, 2, amount.control_points, amount.control_points, generator=generator, device=generator.device
    )
    displacement = F.interpolate(control, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    grid = grid + (amount.elastic * PIXEL) * displacement.permute(0, 2, 3, 1)
    moved = F.grid_sample(images.float().unsqueeze(1), grid, align_corners=False).squeeze(1)
    return moved if amount.appearance is None else change(moved, amount.appearance, generator)


def _affine(rows: int, amount: Augmentation, generator: torch.Generator) -> Tensor:
    """Random maps from the coordinates of the new image to those of the old image, ``[rows, 2, 3]``."""
    factors = 2 * uniform(6, rows, generator=generator) - 1
    if amount.far:
        factors = torch.where(uniform(rows, generator=generator) < amount.far.share, amount.far.factor, 1) * factors
    angle, shear, scale_x, scale_y, shift_x, shift_y = factors.unbind()
    angle = angle * math.radians(amount.rotation)
    cos, sin, shear = angle.cos(), angle.sin(), shear * amount.shear
    scale_x, scale_y = 1 + amount.scale * scale_x, 1 + amount.scale * scale_y
    if amount.smaller:
        step = 1 + amount.smaller.draw(rows, generator)
        scale_x, scale_y = scale_x * step, scale_y * step
    if amount.aspect:
        tall = uniform(rows, generator=generator) < 0.5
        root = (1 + amount.aspect.draw(rows, generator)).sqrt()
        root = torch.where(tall, root, 1 / root)
        scale_x, scale_y = scale_x * root, scale_y / root
    shift_x, shift_y = (amount.shift * PIXEL * shift for shift in (shift_x, shift_y))
    first = torch.stack([scale_x * cos, scale_x * (shear * cos - sin), shift_x], dim=1)
    second = torch.stack([scale_y * sin, scale_y * (shear * sin + cos), shift_y], dim=1)
    return torch.stack([first, second], dim=1)
