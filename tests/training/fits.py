"""Helpers for tests of fits: cheap recipes, and comparisons of networks."""

import io
from typing import Any

import torch
from rich.console import Console
from torch import nn

from training.appearance import Appearance
from training.recipe import Recipe

CPU = torch.device("cpu")
STILL = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0, "control_points": 4}
MOVED = {"rotation": 10, "scale": 0.1, "shear": 0.1, "shift": 1, "elastic": 0.5, "control_points": 4}
CHANGED = {
    **MOVED,
    "far": {"share": 0.2, "factor": 2},
    "smaller": {"share": 0.2, "most": 0.5},
    "aspect": {"share": 0.2, "most": 0.5},
    "appearance": {name: {"share": 0.2, "most": 0.5} for name in Appearance.model_fields},
}


def recipe(**changes: Any) -> Recipe:
    """A cheap recipe of two epochs that uses every source of random numbers."""
    fields = {
        "network": "odenet",
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 4e-3,
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
        "average_decay": 0.5,
        "precision": "float32",
        "solver": {"gradient": "solver", "method": "midpoint", "steps": (1, 2), "kinetic_penalty": 0.01},
        "validation": {"method": "heun2", "tolerance": 1.0},
        "augmentation": MOVED,
    }
    return Recipe.model_validate({**fields, **changes})


def without_ode(network: str = "mlp", **changes: Any) -> Recipe:
    """A cheap recipe for a network without an ODE."""
    return recipe(**{"network": network, "solver": None, "validation": None, **changes})


def penalised(penalty: float, *steps: int) -> dict[str, Any]:
    """A training solver with Euler steps and a kinetic penalty."""
    return {"gradient": "solver", "method": "euler", "steps": steps, "kinetic_penalty": penalty}


def adjoint(method: str = "bosh3", tolerance: float = 0.1) -> dict[str, Any]:
    """A training solver whose gradient comes from the adjoint equation."""
    return {"gradient": "adjoint", "method": method, "tolerance": tolerance}


def silent() -> Console:
    """A console whose output goes to a string."""
    return Console(file=io.StringIO(), soft_wrap=True)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether the weights of two networks are equal to the last bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)
