"""The recipe: everything that a fit is told, read from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(Exception):
    """The recipe cannot be read or says what cannot be; the message names the file and the field."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingSolver(_Frozen):
    """The solver that is differentiated through.

    Attributes:
        method: a method with a fixed number of steps.
        steps: numbers of steps, of which one is drawn for each batch.
        kinetic_penalty: the weight in the loss of the integral over t of the mean square of f, summed from the f
            with which each step begins (Finlay et al. 2020, arXiv 2002.02798).
    """

    method: Literal["euler", "midpoint", "rk4"]
    steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(min_length=1)
    kinetic_penalty: float = Field(ge=0)


class ValidationSolver(_Frozen):
    """The solver with which the validation error of each epoch is measured."""

    method: Literal["heun2", "bosh3", "dopri5", "tsit5"]
    tolerance: float = Field(ge=1e-6, le=10)


class Recipe(_Frozen):
    """How a network is fitted.

    Attributes:
        system: which network.
        epochs: passes over the fit split.
        batch_size: rows in a batch.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: of AdamW.
        label_smoothing: of the cross entropy.
        average_decay: of the exponential moving average of the weights, which is the fitted network.
        precision: what autocast computes in; the state of the ODE and the weights stay in float32.
        solver: the training solver.
        validation: the solver of the validation error.
        augmentation: how far the pictures are moved.
    """

    system: Literal["odenet"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    average_decay: float = Field(ge=0, lt=1)
    precision: Literal["float32", "bfloat16"]
    solver: TrainingSolver
    validation: ValidationSolver
    augmentation: Augmentation


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing, is no TOML, or a field is unknown, missing or out of range.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecipeError(f"{path}: {fields}") from error
