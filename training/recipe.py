"""The recipe: all settings of a fit, read from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.artifact import WITH_ODE, NetworkName
from models.solvers.settings import SolverSettings, Steps, Tolerance
from training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(Exception):
    """The recipe cannot be read or has an invalid field; the message names the file and the field."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SolverGradient(_Frozen):
    """A training solver whose gradient goes through the solver. Chen et al. 2018 call such a network an RK-Net.

    Attributes:
        gradient: "solver", which selects this kind of training solver.
        method: a fixed-step method.
        steps: numbers of steps; one of them is drawn for each batch.
        kinetic_penalty: the weight, in the loss, of the integral over t of the mean square of f. The integral is a sum
            over the first stages of the steps (Finlay et al. 2020, arXiv 2002.02798).
        consistency: the weight, in the loss, of the divergence of a loose solve's probabilities from those of the
            training solve. The loose solve is one midpoint step.
    """

    gradient: Literal["solver"]
    method: Literal["euler", "midpoint", "rk4"]
    steps: tuple[Steps, ...] = Field(min_length=1)
    kinetic_penalty: float = Field(ge=0)
    consistency: float = Field(default=0, ge=0)


class AdjointGradient(_Frozen):
    """A training solver whose gradient comes from the adjoint equation. Its memory does not grow with the steps.

    Attributes:
        gradient: "adjoint", which selects this kind of training solver.
        method: the method for the forward and the backward solve.
        tolerance: rtol and atol of an adaptive method for both solves; None for a fixed-step method.
        steps: the number of steps of a fixed-step method for both solves; None for an adaptive method.
    """

    gradient: Literal["adjoint"]
    method: str
    tolerance: Tolerance | None = None
    steps: Steps | None = None

    @property
    def settings(self) -> SolverSettings:
        """The same setting as `SolverSettings`."""
        return SolverSettings(method=self.method, rtol=self.tolerance, atol=self.tolerance, steps=self.steps)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        SolverSettings.model_validate(self.settings)
        return self


class ValidationSolver(_Frozen):
    """The solver that measures the validation error after each epoch.

    Attributes:
        method: an adaptive method.
        tolerance: rtol and atol.
    """

    method: Literal["heun2", "bosh3", "dopri5", "tsit5"]
    tolerance: Tolerance


class OutlierExposure(_Frozen):
    """Pictures without a digit, for which the network learns to be unsure (Hendrycks et al. 2019, arXiv 1812.04606).

    Attributes:
        rows: the number of outliers that are added to each batch.
        weight: the weight, in the loss, of the divergence of their probabilities from the uniform distribution.
    """

    rows: int = Field(ge=1)
    weight: float = Field(gt=0)


class SyntheticDigits(_Frozen):
    """Generated digits, written and printed (`training.digits`), which are fitted on in addition to the dataset.

    Attributes:
        rows: the number of synthetic digits that are added to each batch.
    """

    rows: int = Field(ge=1)


class Distillation(_Frozen):
    """Fitted networks whose probabilities the network learns (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

    Attributes:
        teachers: folders of runs or of artifacts, absolute or relative to the current folder. The target is the mean of
            the teachers' probabilities for the augmented image.
        temperature: the logits of the teachers and of the network are divided by this number before the softmax.
        weight: the weight of the teachers in the loss, 0..1. The label has the remaining weight.
    """

    teachers: tuple[str, ...] = Field(min_length=1)
    temperature: float = Field(gt=0, le=100)
    weight: float = Field(gt=0, le=1)


class Recipe(_Frozen):
    """The settings of a fit.

    Attributes:
        network: the name of the network architecture.
        start: the folder of a run or of an artifact of the same network, absolute or relative to the current folder.
            The fit starts from its weights; None starts from random weights.
        epochs: the number of passes over the fit split.
        batch_size: the number of rows in a batch.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: the weight decay of AdamW.
        label_smoothing: the label smoothing of the cross entropy.
        average_decay: the decay of the exponential moving average of the weights. The fitted network is this average.
        precision: the floating type of autocast. The state of the ODE and the weights stay in float32. "auto" chooses
            the faster of the two types on the device.
        levels: whether the network uses pixels unchanged or first stretches the levels of each image
            (`models.networks.layers.Normalisation`).
        solver: the training solver; None for a network without an ODE.
        validation: the solver for the validation error; None for a network without an ODE.
        augmentation: how far the images are moved, and how their appearance changes.
        synthetic: generated digits in addition to the dataset; None uses none.
        outliers: pictures without a digit in addition to the digits; None uses none.
        distil: fitted networks to learn from in addition to the labels; None uses none.
    """

    network: NetworkName
    start: str | None = None
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    average_decay: float = Field(ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"]
    levels: Literal["fixed", "stretched"] = "fixed"
    solver: Annotated[SolverGradient | AdjointGradient, Field(discriminator="gradient")] | None = None
    validation: ValidationSolver | None = None
    augmentation: Augmentation
    synthetic: SyntheticDigits | None = None
    outliers: OutlierExposure | None = None
    distil: Distillation | None = None

    @model_validator(mode="after")
    def _solvers_fit_the_network(self) -> Self:
        has_ode = self.network in WITH_ODE
        for field in ("solver", "validation"):
            given = getattr(self, field) is not None
            if has_ode and not given:
                raise ValueError(f"{field}: missing; the network {self.network} needs it to solve its ODE")
            if given and not has_ode:
                raise ValueError(f"{field}: the network {self.network} solves no ODE, so this field must be left out")
        return self


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: the file is missing or is not TOML, or a field is unknown, missing or out of range. For a missing
            recipe of ours, the message lists the recipes that exist.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError as error:
        names = ", ".join(sorted(each.stem for each in RECIPES.glob("*.toml")))
        ours = f"; the recipes are {names}" if path.parent == RECIPES else ""
        raise RecipeError(f"{path}: {error.strerror}{ours}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RecipeError(f"{path}: {fields}") from error
