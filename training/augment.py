"""Augmentation on the whole batch at once: a random affine map and a random elastic one, in one resampling."""

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.form import SIDE

PIXEL = 2 / SIDE
"""The width of a pixel in the coordinates of `grid_sample`, where the picture is [-1, 1]."""


class Augmentation(BaseModel):
    """How far a picture may be moved; every amount is drawn anew for every row.

    Attributes:
        rotation: degrees, uniform in ± this.
        scale: the picture is sampled at a step that is uniform in 1 ± this, drawn once for each axis; its size is
            one over that.
        shear: the tangent of the shear's angle, uniform in ± this.
        shift: pixels, uniform in ± this, on each axis.
        elastic: the standard deviation, in pixels, of the displacement of each control point; between them it is
            smaller.
        control_points: the elastic displacement is interpolated from a square grid with this many points a side
            (compare Simard, Steinkraus and Platt 2003, who smooth a displacement of every pixel).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation: float = Field(ge=0, le=180)
    scale: float = Field(ge=0, lt=1)
    shear: float = Field(ge=0, le=1)
    shift: float = Field(ge=0, le=SIDE)
    elastic: float = Field(ge=0, le=SIDE)
    control_points: int = Field(ge=2, le=SIDE)


def augment(images: Tensor, amount: Augmentation, generator: torch.Generator) -> Tensor:
    """Move each picture by its own random affine and elastic map.

    Args:
        images: ``[rows, 28, 28]`` of 0..255, uint8 or floating.
        amount: how far.
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
    return F.grid_sample(images.float().unsqueeze(1), grid, align_corners=False).squeeze(1)


def _affine(rows: int, amount: Augmentation, generator: torch.Generator) -> Tensor:
    """Random maps from the new picture's coordinates to the old one's, ``[rows, 2, 3]``."""
    angle, shear, scale_x, scale_y, shift_x, shift_y = (
        2 * torch.rand(6, rows, generator=generator, device=generator.device) - 1
    ).unbind()
    angle = angle * math.radians(amount.rotation)
    cos, sin, shear = angle.cos(), angle.sin(), shear * amount.shear
    scale_x, scale_y = 1 + amount.scale * scale_x, 1 + amount.scale * scale_y
    shift_x, shift_y = (amount.shift * PIXEL * shift for shift in (shift_x, shift_y))
    first = torch.stack([scale_x * cos, scale_x * (shear * cos - sin), shift_x], dim=1)
    second = torch.stack([scale_y * sin, scale_y * (shear * sin + cos), shift_y], dim=1)
    return torch.stack([first, second], dim=1)
