"""Recipes: the shipped recipes are valid, and the error names the file and the field of an invalid recipe."""

import re
from pathlib import Path

import pytest

from training.recipe import RECIPES, AdjointGradient, Recipe, RecipeError, SolverGradient, read_recipe

SHIPPED = sorted(RECIPES.glob("*.toml"))
TABLE = ["mlp", "resnet", "rknet", "odenet"]
ABLATIONS = ["one-block", "stem-only"]

WRONG = {  # the text to replace, its replacement, and the message with the field
    "unknown field": ("epochs = 2", "epochs = 2\nmomentum = 0.9", "momentum: Extra inputs"),
    "unknown field of a table": ("tolerance = 1e-3", "tolerance = 1e-3\nsteps = 2", r"validation\.steps: Extra"),
    "missing field": ("epochs = 2", "", "epochs: Field required"),
    "missing table": ("[augmentation]", "[other]", r"augmentation\.rotation: Field required"),
    "unknown network": ('"odenet"', '"magic"', "network: "),
    "an older name of the field network": ("network =", "system =", "network: Field required"),
    "no gradient": ('gradient = "solver"', "", "solver: Unable to extract tag using discriminator 'gradient'"),
    "unknown gradient": ('gradient = "solver"', 'gradient = "guess"', "solver: Input tag 'guess'"),
    "the other gradient": (
        'gradient = "solver"',
        'gradient = "adjoint"',
        r"solver\.adjoint\.steps: Input should be a valid integer",
    ),
    "zero epochs": ("epochs = 2", "epochs = 0", "epochs: "),
    "half an epoch": ("epochs = 2", "epochs = 0.5", "epochs: "),
    "text for a number": ("epochs = 2", 'epochs = "many"', "epochs: "),
    "learning rate of zero": ("learning_rate = 1e-3", "learning_rate = 0", "learning_rate: "),
    "infinite learning rate": ("learning_rate = 1e-3", "learning_rate = inf", "learning_rate: "),
    "negative decay": ("weight_decay = 0.01", "weight_decay = -0.01", "weight_decay: "),
    "decay that is not a number": ("weight_decay = 0.01", "weight_decay = nan", "weight_decay: "),
    "label smoothing of one": ("label_smoothing = 0.1", "label_smoothing = 1.0", "label_smoothing: "),
    "average decay of one": ("average_decay = 0.9", "average_decay = 1.0", "average_decay: "),
    "unknown precision": ('"float32"', '"float16"', "precision: "),
    "adaptive training solver": ('"rk4"', '"dopri5"', r"solver\.solver\.method: "),
    "empty list of steps": ("steps = [1, 2]", "steps = []", r"solver\.solver\.steps: "),
    "zero steps": ("steps = [1, 2]", "steps = [1, 0]", r"solver\.solver\.steps\.1: "),
    "too many steps": ("steps = [1, 2]", "steps = [101]", r"solver\.solver\.steps\.0: "),
    "negative penalty": ("kinetic_penalty = 0.01", "kinetic_penalty = -1", r"solver\.solver\.kinetic_penalty: "),
    "negative consistency": ("consistency = 0.25", "consistency = -1", r"solver\.solver\.consistency: "),
    "fixed-step validation solver": ('"dopri5"', '"rk4"', r"validation\.method: "),
    "tolerance too tight": ("tolerance = 1e-3", "tolerance = 1e-7", r"validation\.tolerance: "),
    "tolerance too loose": ("tolerance = 1e-3", "tolerance = 11", r"validation\.tolerance: "),
    "unknown levels": ('"stretched"', '"equalised"', "levels: "),
    "rotation beyond half a turn": ("rotation = 10", "rotation = 190", r"augmentation\.rotation: "),
    "factor below one": ("factor = 2", "factor = 0.5", r"augmentation\.far\.factor: "),
    "share above one": ("share = 0.3", "share = 1.3", r"augmentation\.appearance\.levels\.share: "),
    "greatest amount of zero": ("most = 0.9", "most = 0", r"augmentation\.appearance\.levels\.most: "),
    "fog above one": (
        "most = 0.8",
        "most = 1.8",
        r"augmentation\.appearance\.fog: .*most: 1\.8; at most 1 is allowed",
    ),
    "inversion wider than the picture": (
        "most = 28",
        "most = 29",
        r"augmentation\.appearance\.inversion: .*most: 29; at most 28 is allowed",
    ),
    "blur longer than its kernel": (
        "most = 7",
        "most = 70",
        r"augmentation\.appearance\.motion: .*most: 70; at most 10 is allowed",
    ),
    "zero synthetic digits": ("rows = 16", "rows = 0", r"synthetic\.rows: "),
    "zero outliers": ("rows = 8", "rows = 0", r"outliers\.rows: "),
    "outlier weight of zero": ("weight = 0.5", "weight = 0", r"outliers\.weight: "),
    "no teacher": ('["runs/one", "models/other"]', "[]", r"distil\.teachers: "),
    "temperature of zero": ("temperature = 2", "temperature = 0", r"distil\.temperature: "),
    "teacher weight above one": ("weight = 0.4", "weight = 1.4", r"distil\.weight: "),
    "invalid TOML": ("epochs = 2", "epochs = = 2", "line 2"),
    "duplicate field": ("epochs = 2", "epochs = 2\nepochs = 3", "line 3"),
}

VALID = """\
network = "odenet"
epochs = 2
batch_size = 32
learning_rate = 1e-3
weight_decay = 0.01
label_smoothing = 0.1
average_decay = 0.9
precision = "float32"
levels = "stretched"
start = "runs/before"

[solver]
gradient = "solver"
method = "rk4"
steps = [1, 2]
kinetic_penalty = 0.01
consistency = 0.25

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
far = { share = 0.2, factor = 2 }
smaller = { share = 0.1, most = 0.5 }
aspect = { share = 0.1, most = 0.4 }

[augmentation.appearance]
thickness = { share = 0.1, most = 1 }
outline = { share = 0.1, most = 1.5 }
line = { share = 0.1, most = 2 }
scribble = { share = 0.1, most = 2.5 }
inversion = { share = 0.1, most = 28 }
cutout = { share = 0.1, most = 8 }
defocus = { share = 0.1, most = 2 }
motion = { share = 0.1, most = 7 }
fog = { share = 0.1, most = 0.8 }
noise = { share = 0.1, most = 0.2 }
specks = { share = 0.1, most = 0.3 }
levels = { share = 0.3, most = 0.9 }

[synthetic]
rows = 16

[outliers]
rows = 8
weight = 0.5

[distil]
teachers = ["runs/one", "models/other"]
temperature = 2
weight = 0.4
"""

SOLVER = """\
[solver]
gradient = "solver"
method = "rk4"
steps = [1, 2]
kinetic_penalty = 0.01
consistency = 0.25
"""
ADJOINT = """\
[solver]
gradient = "adjoint"
method = "bosh3"
tolerance = 1e-2
"""
VALIDATION = """\
[validation]
method = "dopri5"
tolerance = 1e-3
"""


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_the_expected_recipes_ship() -> None:
    assert {"odenet-mnist", "odenet-mnist-fast", *TABLE, *ABLATIONS} <= {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    assert read_recipe(path).epochs >= 1


@pytest.mark.parametrize("name", [*TABLE, *ABLATIONS])
def test_the_compared_networks_have_the_same_protocol(name: str) -> None:
    """Batches, optimiser, precision and data are the same. Only network, epochs and solvers differ."""
    differing = {"network", "epochs", "solver", "validation"}
    recipe, first = (read_recipe(RECIPES / f"{each}.toml") for each in (name, TABLE[0]))
    assert recipe.model_dump(exclude=differing) == first.model_dump(exclude=differing)


def test_the_table_has_four_rows() -> None:
    """Two rows have the same network, once with a gradient through the solver and once with the adjoint."""
    mlp, resnet, rknet, odenet = (read_recipe(RECIPES / f"{name}.toml") for name in TABLE)
    assert [recipe.network for recipe in (mlp, resnet, rknet, odenet)] == ["mlp", "resnet", "odenet", "odenet"]
    assert isinstance(rknet.solver, SolverGradient)
    assert isinstance(odenet.solver, AdjointGradient)
    assert rknet.validation == odenet.validation


def test_every_field_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, VALID).model_dump(mode="json") == {
        "network": "odenet",
        "start": "runs/before",
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "average_decay": 0.9,
        "precision": "float32",
        "levels": "stretched",
        "solver": {
            "gradient": "solver",
            "method": "rk4",
            "steps": [1, 2],
            "kinetic_penalty": 0.01,
            "consistency": 0.25,
        },
        "validation": {"method": "dopri5", "tolerance": 1e-3},
        "augmentation": {
            "rotation": 10,
            "scale": 0.1,
            "shear": 0.1,
            "shift": 1.5,
            "elastic": 0.5,
            "control_points": 4,
            "far": {"share": 0.2, "factor": 2},
            "smaller": {"share": 0.1, "most": 0.5},
            "aspect": {"share": 0.1, "most": 0.4},
            "appearance": {
                "thickness": {"share": 0.1, "most": 1},
                "outline": {"share": 0.1, "most": 1.5},
                "line": {"share": 0.1, "most": 2},
                "scribble": {"share": 0.1, "most": 2.5},
                "inversion": {"share": 0.1, "most": 28},
                "cutout": {"share": 0.1, "most": 8},
                "defocus": {"share": 0.1, "most": 2},
                "motion": {"share": 0.1, "most": 7},
                "fog": {"share": 0.1, "most": 0.8},
                "noise": {"share": 0.1, "most": 0.2},
                "specks": {"share": 0.1, "most": 0.3},
                "levels": {"share": 0.3, "most": 0.9},
            },
        },
        "synthetic": {"rows": 16},
        "outliers": {"rows": 8, "weight": 0.5},
        "distil": {"teachers": ["runs/one", "models/other"], "temperature": 2, "weight": 0.4},
    }


def test_synthetic_digits_outliers_and_teachers_are_optional(tmp_path: Path) -> None:
    recipe = read(tmp_path, VALID[: VALID.index("[synthetic]")])
    left_out = {"synthetic", "outliers", "distil"}
    assert {getattr(recipe, field) for field in left_out} == {None}
    assert recipe.model_dump(exclude_none=True).keys().isdisjoint(left_out), (
        "so a manifest does not contain them either"
    )


def test_the_start_is_optional(tmp_path: Path) -> None:
    recipe = read(tmp_path, VALID.replace('start = "runs/before"\n', ""))
    assert recipe.start is None
    assert "start" not in recipe.model_dump(exclude_none=True), "so a manifest does not contain it either"


def test_levels_appearance_and_the_precision_are_optional(tmp_path: Path) -> None:
    begin, end = VALID.index("far ="), VALID.index("[synthetic]")
    short = (VALID[:begin] + VALID[end:]).replace('levels = "stretched"\n', "").replace('"float32"', '"auto"')
    recipe = read(tmp_path, short)
    assert (recipe.levels, recipe.precision, recipe.augmentation.appearance) == ("fixed", "auto", None)


def test_the_gradient_may_come_from_the_adjoint(tmp_path: Path) -> None:
    solver = read(tmp_path, VALID.replace(SOLVER, ADJOINT)).solver
    assert solver == AdjointGradient(gradient="adjoint", method="bosh3", tolerance=1e-2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"bosh3"', '"rk4"', r"solver\.adjoint: .*rk4 takes a fixed number of steps, and no tolerance"),
        ('"bosh3"', '"magic"', r"solver\.adjoint: .*no method is called 'magic'"),
        ("tolerance = 1e-2", "", r"solver\.adjoint: .*bosh3 is adaptive: it takes rtol and atol"),
        ("tolerance = 1e-2", "tolerance = 11", r"solver\.adjoint\.tolerance: "),
        ("tolerance = 1e-2", "tolerance = 1e-2\nsteps = 2", r"solver\.adjoint: .*bosh3 is adaptive"),
        ("tolerance = 1e-2", "tolerance = 1e-2\nkinetic_penalty = 0.1", r"solver\.adjoint\.kinetic_penalty: Extra"),
    ],
)
def test_the_error_names_an_invalid_field_of_an_adjoint_solver(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, VALID.replace(SOLVER, ADJOINT.replace(old, new)))


@pytest.mark.parametrize("network", ["mlp", "resnet", "stem-only"])
def test_a_network_without_an_ode_takes_no_solver(tmp_path: Path, network: str) -> None:
    without = VALID.replace('"odenet"', f'"{network}"').replace(SOLVER, "").replace(VALIDATION, "")
    recipe = read(tmp_path, without)
    assert (recipe.network, recipe.solver, recipe.validation) == (network, None, None)
    for field, table in (("solver", SOLVER), ("solver", ADJOINT), ("validation", VALIDATION)):
        with pytest.raises(
            RecipeError, match=f"{field}: the network {network} solves no ODE, so this field must be left out"
        ):
            read(tmp_path, without + table)


@pytest.mark.parametrize("network", ["odenet", "odenet-strided"])
@pytest.mark.parametrize(("field", "table"), [("solver", SOLVER), ("validation", VALIDATION)])
def test_a_network_with_an_ode_needs_its_solvers(tmp_path: Path, network: str, field: str, table: str) -> None:
    valid = VALID.replace('"odenet"', f'"{network}"')
    assert read(tmp_path, valid).network == network
    with pytest.raises(RecipeError, match=f"{field}: missing; the network {network} needs it to solve its ODE"):
        read(tmp_path, valid.replace(table, ""))


@pytest.mark.parametrize("wrong", WRONG)
def test_the_error_names_the_file_and_the_invalid_field(tmp_path: Path, wrong: str) -> None:
    old, new, message = WRONG[wrong]
    assert VALID.count(old) == 1, "the text to replace must occur exactly once"
    path = tmp_path / "wrong.toml"
    path.write_text(VALID.replace(old, new))
    with pytest.raises(RecipeError, match=rf"^{re.escape(str(path))}: .*{message}"):
        read_recipe(path)


def test_the_error_names_every_invalid_field(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(VALID.replace("epochs = 2", "epochs = 0").replace("rotation = 10", "rotation = -1"))
    with pytest.raises(RecipeError, match=r"epochs: .*; augmentation\.rotation: "):
        read_recipe(path)


def test_the_error_names_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.toml: .*No such file"):
        read_recipe(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00", b""])
def test_the_error_names_a_file_that_is_not_a_recipe(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"wrong\.toml: "):
        read_recipe(path)
