"""Random changes that apply to some rows of a batch."""

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor


class Chance(BaseModel):
    """The probability that a change is applied to a row, and its greatest amount.

    Attributes:
        share: the probability that a row is changed.
        most: the greatest amount; the amount of a changed row is uniform between 0 and this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(ge=0, le=1)
    most: float = Field(gt=0, allow_inf_nan=False)

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw the amount for each row, ``[rows]``; 0 for a row that is not changed."""
        chosen, amount = uniform(2, rows, generator=generator)
        return torch.where(chosen < self.share, amount * self.most, 0)


def at_most(limit: float) -> AfterValidator:
    """A validator for a field of type `Chance`: its greatest amount must not exceed a limit."""

    def check(chance: Chance) -> Chance:
        if chance.most > limit:
            raise ValueError(f"most: {chance.most:g}; at most {limit:g} is allowed")
        return chance

    return AfterValidator(check)


def uniform(*shape: int, generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1) on the generator's device."""
    return torch.rand(*shape, generator=generator, device=generator.device)


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers on the generator's device."""
    return torch.randn(*shape, generator=generator, device=generator.device)
