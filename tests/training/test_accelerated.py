"""Fits that run in parallel: each has its own folder, and a failing fit ends all others."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import waiting
from tests.end_to_end.callers import descendants
from training.accelerated import LOG, STAGES, FitFailedError, Planned, command, fit_together, validation_error
from training.recipe import RECIPES, read_recipe
from training.run import CHECKPOINT, load_config

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a temporary folder, because runs are written below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_fits_run_in_parallel(data: Path) -> None:
    stage = (Planned("mlp", 1), Planned("mlp", 2))
    fit_together(stage, data, "cpu", 1)
    for fit in stage:
        assert (fit.folder / CHECKPOINT).is_file()
        assert load_config(fit.folder).seed == fit.seed
        assert 0 < validation_error(fit) <= 1
        assert "epoch 1/1" in (fit.folder / LOG).read_text()


def test_an_interrupted_fit_is_resumed() -> None:
    fit = Planned("mlp", 1)
    first = command(fit, Path("digits"), "cpu", 3)
    assert first[1:5] == ["-m", "training", "fit", "mlp"]
    assert "--resume" not in first
    fit.folder.mkdir(parents=True)
    (fit.folder / CHECKPOINT).touch()
    assert command(fit, Path("digits"), "cpu", 3) == [*first, "--resume"]


def test_sigterm_ends_the_fits(data: Path) -> None:
    program = subprocess.Popen([sys.executable, "-m", "training.accelerated", "--data", data, "--device", "cpu"])
    teachers, _ = STAGES
    try:
        waiting.until(lambda: len(descendants(program.pid)) == len(teachers) and not has_open(program.pid, LOG))
        fits = descendants(program.pid)
    finally:
        program.terminate()
    assert program.wait(waiting.HANG) == 128 + signal.SIGTERM
    assert len(fits) == len(teachers)
    assert not any(Path(f"/proc/{process}").exists() for process in fits)


def has_open(process: int, name: str) -> bool:
    """Whether a process has a file of a name open (Linux, proc(5)). The program has a log open while a fit starts."""
    return name in {link.resolve().name for link in Path(f"/proc/{process}/fd").iterdir()}


def test_the_error_names_a_failed_fit_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(FitFailedError, match=r"(?s)^runs/mlp-3: the fit ended with 1\n.*error: .*nowhere"):
        fit_together((Planned("mlp", 3),), tmp_path / "nowhere", "cpu", 1)


def test_students_learn_from_the_teachers_of_the_first_stage() -> None:
    """Apart from the teachers, the recipes equal those of the networks that are fitted without teachers."""
    teachers, students = STAGES
    for recipe in {fit.recipe for fit in students}:
        distilled, plain = (
            read_recipe(RECIPES / f"{name}.toml") for name in (recipe, recipe.removesuffix("-distilled"))
        )
        assert distilled.distil is not None
        assert list(distilled.distil.teachers) == [str(fit.folder) for fit in teachers]
        assert distilled.model_copy(update={"distil": None}) == plain


def test_teachers_see_the_pictures_that_students_see() -> None:
    teacher, student = (read_recipe(RECIPES / f"{name}.toml") for name in ("teacher", "odenet-mnist"))
    for field in ("augmentation", "synthetic", "levels"):
        assert getattr(teacher, field) == getattr(student, field)
