"""Errors on a kind of digits, counted for arrays and for pictures, and reported in tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmarks.corruptions import __main__ as program
from benchmarks.corruptions.kinds import KINDS
from benchmarks.corruptions.measure import Errors, Network, answer, measure, open_networks, through_service
from benchmarks.corruptions.report import draw, tables, with_means
from models.backends.answer import Floats, Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings
from tests.artifacts import FAST, MLP
from tests.digits import load_test_set
from tests.pictures import correlation
from training.cli import SplitName

DIGITS, LABELS = load_test_set()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with two shipped networks, one with an ODE."""
    folder = tmp_path_factory.mktemp("models")
    for source in (MLP, FAST):
        shutil.copytree(source, folder / source.parent.name / source.name)
    return folder


@pytest.fixture(scope="module")
def networks(models: Path) -> list[Network]:
    return open_networks(models)


def test_a_network_with_an_ode_has_three_settings_and_one_without_has_one(networks: list[Network]) -> None:
    mlp, fast = networks
    assert mlp.solvers == {"default": None}
    assert list(fast.solvers) == ["loose", "default", "tight"]
    tolerances = [solver.rtol for solver in fast.solvers.values() if solver is not None]
    assert tolerances[0] == 1
    assert tolerances[2] == 1e-3


def test_the_answers_of_a_network_agree_with_classify(networks: list[Network]) -> None:
    images = DIGITS[:100]
    for network in networks:
        for digits, solver in zip(answer(network, images), network.solvers.values(), strict=True):
            assert digits.tolist() == classify(network.backend, images, solver).digits.tolist()


class Diverging(OnnxBackend):
    """A network whose states are not finite for the first image of a batch."""

    def stem(self, images: Images, /) -> Floats:
        z = super().stem(images)
        z[0] = np.inf
        return z


def test_a_solve_that_does_not_converge_gives_no_digit() -> None:
    network = Network("diverging", {"": SolverSettings.adaptive("heun2", 0.1)}, Diverging(FAST, ["heun2"]))
    assert answer(network, DIGITS[:2]).tolist() == [[-1, 2]]


def test_pictures_are_decoded_to_the_digits_that_they_show() -> None:
    images = np.concatenate([DIGITS[:8], np.zeros((1, 28, 28), np.uint8)])
    decoded, shown = through_service(images)
    assert shown.tolist() == [True] * 8 + [False], "a blank picture is refused"
    assert min(correlation(*pair) for pair in zip(images[:8], decoded, strict=False)) > 0.8
    assert not decoded[8].any()


def test_errors_include_refused_pictures(networks: list[Network]) -> None:
    images, labels = DIGITS[:20].copy(), LABELS[:20].astype(np.int64)
    images[:2] = 0
    labels[2] = (labels[2] + 1) % 10  # a label that no network answers
    errors = measure("some", networks, images, labels)
    assert errors.refused == 0.1
    assert errors.pictures == pytest.approx([0.15] * 4)
    for share, digits in zip(
        errors.raw, np.concatenate([answer(network, images) for network in networks]), strict=True
    ):
        assert share == pytest.approx((digits != labels).sum() / 20)


def made() -> list[Errors]:
    """Different errors for each kind, and errors on the clean digits, which belong in no mean."""
    kinds = [Errors(kind, [number / 100] * 4, [number / 50] * 4, number / 1000) for number, kind in enumerate(KINDS)]
    return [Errors("none", [1.0] * 4, [1.0] * 4, 1.0), *kinds]


def test_means_exclude_the_clean_digits() -> None:
    chosen, everything = with_means(made())[-2:]
    assert chosen.kind == "mean of MNIST-C's 15"
    assert chosen.raw == pytest.approx([0.07] * 4)
    assert everything.kind == "mean of all 26"
    assert everything.raw == pytest.approx([0.125] * 4)
    assert everything.pictures == pytest.approx([0.25] * 4)
    assert everything.refused == pytest.approx(0.0125)


def test_tables_have_a_line_for_each_kind(networks: list[Network]) -> None:
    lines = list(tables(networks, made()))
    assert lines[0] == (
        "| arrays | mlp | odenet-mnist-fast, loose | odenet-mnist-fast, default | odenet-mnist-fast, tight |"
    )
    assert lines[3] == "| shot noise | 0.0% | 0.0% | 0.0% | 0.0% |"
    pictures = lines[lines.index("") + 1 :]
    assert pictures[0].startswith("| pictures | refused | mlp |")
    assert pictures[-1] == "| inverse | 2.5% | 50.0% | 50.0% | 50.0% | 50.0% |"
    assert len({line.count("|") for line in pictures}) == 1


def test_the_figure_names_every_network_and_kind(networks: list[Network], tmp_path: Path) -> None:
    draw(networks, with_means(made()), tmp_path / "new" / "figure.svg")
    drawn = (tmp_path / "new" / "figure.svg").read_text()
    assert all(f">{text}<" in drawn for text in (*KINDS, "mlp", "odenet-mnist-fast", "mean of all 26", "refused"))


def test_the_program_prints_both_tables(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "FIGURE", tmp_path / "figure.svg")
    program.main(models, SplitName.validation, rows=2)
    output, progress = capsys.readouterr()
    assert output.startswith("2 digits of the validation split; ")
    kinds = [line.split(" | ")[0].removeprefix("| ") for line in output.splitlines() if line.endswith("% |")]
    assert kinds == 2 * ["none", *KINDS, "mean of MNIST-C's 15", "mean of all 26"]
    assert progress.splitlines()[-1].startswith("26 of 26: inverse, ")
    assert (tmp_path / "figure.svg").is_file()


def test_more_digits_than_there_are_is_refused(models: Path) -> None:
    with pytest.raises(typer.BadParameter, match="5001: the validation split has 5000 digits"):
        program.main(models, SplitName.validation, rows=5_001)


def test_a_folder_without_artifacts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="has no artifact"):
        program.main(tmp_path, SplitName.validation, rows=1)
    with pytest.raises(typer.BadParameter, match="absent"):
        program.main(tmp_path / "absent", SplitName.validation, rows=1)
