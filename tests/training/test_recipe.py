"""Recipes: the shipped ones are valid, and any other thing is refused by file and field."""

import re
from pathlib import Path

import pytest

from training.recipe import RECIPES, RecipeError, read_recipe

SHIPPED = sorted(RECIPES.glob("*.toml"))

WRONG = {  # what takes the place of what, and the field that is complained of
    "unknown field": ("epochs = 2", "epochs = 2\nmomentum = 0.9", "momentum: Extra inputs"),
    "unknown field of a table": ("tolerance = 1e-3", "tolerance = 1e-3\nsteps = 2", r"validation\.steps: Extra"),
    "missing field": ("epochs = 2", "", "epochs: Field required"),
    "missing table": ("[augmentation]", "[other]", "augmentation: Field required"),
    "unknown system": ('"odenet"', '"resnet"', "system: "),
    "no epoch": ("epochs = 2", "epochs = 0", "epochs: "),
    "half an epoch": ("epochs = 2", "epochs = 0.5", "epochs: "),
    "text for a number": ("epochs = 2", 'epochs = "many"', "epochs: "),
    "no learning": ("learning_rate = 1e-3", "learning_rate = 0", "learning_rate: "),
    "endless learning": ("learning_rate = 1e-3", "learning_rate = inf", "learning_rate: "),
    "negative decay": ("weight_decay = 0.01", "weight_decay = -0.01", "weight_decay: "),
    "decay that is no number": ("weight_decay = 0.01", "weight_decay = nan", "weight_decay: "),
    "whole smoothing": ("label_smoothing = 0.1", "label_smoothing = 1.0", "label_smoothing: "),
    "an average of the past alone": ("average_decay = 0.9", "average_decay = 1.0", "average_decay: "),
    "unknown precision": ('"float32"', '"float16"', "precision: "),
    "adaptive training solver": ('"rk4"', '"dopri5"', r"solver\.method: "),
    "no number of steps": ("steps = [1, 2]", "steps = []", r"solver\.steps: "),
    "no step": ("steps = [1, 2]", "steps = [1, 0]", r"solver\.steps\.1: "),
    "too many steps": ("steps = [1, 2]", "steps = [101]", r"solver\.steps\.0: "),
    "negative penalty": ("kinetic_penalty = 0.01", "kinetic_penalty = -1", r"solver\.kinetic_penalty: "),
    "fixed-step validation solver": ('"dopri5"', '"rk4"', r"validation\.method: "),
    "tolerance too tight": ("tolerance = 1e-3", "tolerance = 1e-7", r"validation\.tolerance: "),
    "tolerance too loose": ("tolerance = 1e-3", "tolerance = 11", r"validation\.tolerance: "),
    "rotation beyond half a turn": ("rotation = 10", "rotation = 190", r"augmentation\.rotation: "),
    "bad TOML": ("epochs = 2", "epochs = = 2", "line 2"),
    "a field twice": ("epochs = 2", "epochs = 2\nepochs = 3", "line 3"),
}

VALID = """\
system = "odenet"
epochs = 2
batch_size = 32
learning_rate = 1e-3
weight_decay = 0.01
label_smoothing = 0.1
average_decay = 0.9
precision = "float32"

[solver]
method = "rk4"
steps = [1, 2]
kinetic_penalty = 0.01

[validation]
method = "dopri5"
tolerance = 1e-3

[augmentation]
rotation = 10
scale = 0.1
shear = 0.1
shift = 1.5
elastic = 0.5
control_points = 4
"""


def test_a_recipe_ships() -> None:
    assert "odenet-mnist" in {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert read_recipe(path).epochs >= 1


def test_every_field_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(VALID)
    assert read_recipe(path).model_dump(mode="json") == {
        "system": "odenet",
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "average_decay": 0.9,
        "precision": "float32",
        "solver": {"method": "rk4", "steps": [1, 2], "kinetic_penalty": 0.01},
        "validation": {"method": "dopri5", "tolerance": 1e-3},
        "augmentation": {
            "rotation": 10,
            "scale": 0.1,
            "shear": 0.1,
            "shift": 1.5,
            "elastic": 0.5,
            "control_points": 4,
        },
    }


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_recipe_is_refused_by_file_and_field(tmp_path: Path, wrong: str) -> None:
    old, new, said = WRONG[wrong]
    assert VALID.count(old) == 1, "the case is not the one it is meant to be"
    path = tmp_path / "wrong.toml"
    path.write_text(VALID.replace(old, new))
    with pytest.raises(RecipeError, match=rf"^{re.escape(str(path))}: .*{said}"):
        read_recipe(path)


def test_every_wrong_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(VALID.replace("epochs = 2", "epochs = 0").replace("rotation = 10", "rotation = -1"))
    with pytest.raises(RecipeError, match=r"epochs: .*; augmentation\.rotation: "):
        read_recipe(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.toml: .*No such file"):
        read_recipe(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b""])
def test_bytes_that_are_no_recipe_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"wrong\.toml: "):
        read_recipe(path)
