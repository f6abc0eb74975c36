"""The recipe: everything that a fit is told, read from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.artifact import WITH_ODE, NetworkName
from models.solvers.settings import SolverSettings, Steps, Tolerance
from training.augment import Augmentation

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(Exception):
    """The recipe cannot be read or says what cannot be; the message names the file and the field."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SolverGradient(_Frozen):
    """A solver that is differentiated through; with it a network is an RK-Net in the words of Chen et al. 2018.

    Attributes:
        gradient: that it is.
        method: a method with a fixed number of steps.
        steps: numbers of steps, of which one is drawn for each batch.
        kinetic_penalty: the weight in the loss of the integral over t of the mean square of f, summed from the f
            with which each step begins (Finlay et al. 2020, arXiv 2002.02798).
    """

    gradient: Literal["solver"]
    method: Literal["euler", "midpoint", "rk4"]
    steps: tuple[Steps, ...] = Field(min_length=1)
    kinetic_penalty: float = Field(ge=0)


class AdjointGradient(_Frozen):
    """A solver whose gradient comes from the adjoint equation, in memory that does not grow with its steps.

    Attributes:
        gradient: that it does.
        method: for both directions.
        tolerance: rtol and atol of an adaptive method, in both directions.
        steps: of a fixed-step method, likewise.
    """

    gradient: Literal["adjoint"]
    method: str
    tolerance: Tolerance | None = None
    steps: Steps | None = None

    @property
    def settings(self) -> SolverSettings:
        """The same as a solver is told it."""
        return SolverSettings(method=self.method, rtol=self.tolerance, atol=self.tolerance, steps=self.steps)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        SolverSettings.model_validate(self.settings)
        return self


class ValidationSolver(_Frozen):
    """The solver with which the validation error of each epoch is measured."""

    method: Literal["heun2", "bosh3", "dopri5", "tsit5"]
    tolerance: Tolerance


class OutlierExposure(_Frozen):
    """Pictures of no digit, of which the network is to be unsure (Hendrycks et al. 2019, arXiv 1812.04606).

    Attributes:
        rows: of them beside the digits of each batch.
        weight: in the loss of the divergence of their answers from the uniform one.
    """

    rows: int = Field(ge=1)
    weight: float = Field(gt=0)


class SyntheticDigits(_Frozen):
    """Digits that a program draws from strokes and fonts (`training.digits`), fitted on beside those of the dataset.

    Attributes:
        rows: of them beside the digits of each batch.
    """

    rows: int = Field(ge=1)


class Distillation(_Frozen):
    """Fitted networks whose answers the network is to give as well (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

    Attributes:
        teachers: folders of runs or of artifacts, absolute or from the current folder; the mean of their probabilities
            for the picture as the network sees it is what is to be answered.
        temperature: what the logits of both are divided by first.
        weight: of this in the loss; the rest is the weight of the label.
    """

    teachers: tuple[str, ...] = Field(min_length=1)
    temperature: float = Field(gt=0, le=100)
    weight: float = Field(gt=0, le=1)


class Recipe(_Frozen):
    """How a network is fitted.

    Attributes:
        network: which.
        epochs: passes over the fit split.
        batch_size: rows in a batch.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: of AdamW.
        label_smoothing: of the cross entropy.
        average_decay: of the exponential moving average of the weights, which is the fitted network.
        precision: what autocast computes in; the state of the ODE and the weights stay in float32. "auto" is the
            faster of the two on the device.
        levels: whether the network takes pixels as they are, or first stretches the levels of each picture
            (`models.networks.layers.Normalisation`).
        solver: the training solver; None for a network without an ODE.
        validation: the solver of the validation error; None likewise.
        augmentation: how far the pictures are moved, and how their look is changed.
        synthetic: digits that a program draws, to be fitted on beside those of the dataset; None for none.
        outliers: pictures of no digit to be fitted on beside the digits; None for none.
        distil: fitted networks to learn from beside the labels; None for none.
    """

    network: NetworkName
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
        solves = self.network in WITH_ODE
        for field in ("solver", "validation"):
            if (getattr(self, field) is not None) != solves:
                raise ValueError(
                    f"{field}: {self.network} {'needs one' if solves else 'solves no ODE, and takes none'}"
                )
        return self


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
