"""Fits side by side: each has its folder, and one that fails ends them all."""

from pathlib import Path

import pytest

from training.accelerated import LOG, STAGES, FitFailedError, Planned, command, fit_together, validation_error
from training.recipe import RECIPES, read_recipe
from training.run import CHECKPOINT, load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_fits_run_side_by_side(data: Path) -> None:
    stage = (Planned("mlp", 1), Planned("mlp", 2))
    fit_together(stage, data, "cpu", 1)
    for fit in stage:
        assert (fit.folder / CHECKPOINT).is_file()
        assert load_config(fit.folder).seed == fit.seed
        assert 0 < validation_error(fit) <= 1
        assert "epoch 1/1" in (fit.folder / LOG).read_text()


def test_a_fit_that_was_interrupted_goes_on() -> None:
    fit = Planned("mlp", 1)
    first = command(fit, Path("digits"), "cpu", 3)
    assert first[1:5] == ["-m", "training", "fit", "mlp"]
    assert "--resume" not in first
    fit.folder.mkdir(parents=True)
    (fit.folder / CHECKPOINT).touch()
    assert command(fit, Path("digits"), "cpu", 3) == [*first, "--resume"]


def test_a_fit_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(FitFailedError, match=r"(?s)^runs/mlp-3: the fit ended with 1\n.*error: .*nowhere"):
        fit_together((Planned("mlp", 3),), tmp_path / "nowhere", "cpu", 1)


def test_students_learn_from_the_teachers_that_are_fitted_before() -> None:
    """And are told nothing else than the networks that are fitted without teachers."""
    teachers, students = STAGES
    for recipe in {fit.recipe for fit in students}:
        told, plain = (read_recipe(RECIPES / f"{name}.toml") for name in (recipe, recipe.removesuffix("-distilled")))
        assert told.distil is not None
        assert list(told.distil.teachers) == [str(fit.folder) for fit in teachers]
        assert told.model_copy(update={"distil": None}) == plain


def test_teachers_see_the_pictures_that_students_see() -> None:
    teacher, student = (read_recipe(RECIPES / f"{name}.toml") for name in ("teacher", "odenet-mnist"))
    for field in ("augmentation", "synthetic", "levels"):
        assert getattr(teacher, field) == getattr(student, field)
