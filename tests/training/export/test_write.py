"""The whole export: its files, its reports, and that it writes either everything or nothing."""

import hashlib
import io
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from models.artifact import CARD, MANIFEST, METRICS, SOLVE, WEIGHTS, Artifact, ArtifactError, step_file
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.backends.torch import TorchBackend, load_network
from models.profile import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from tests.fixtures import METRICS_LINE, PROFILED, unfitted
from training.appearance import Appearance
from training.data import Dataset, Split
from training.evaluate import ErrorRate
from training.export.card import LOOKS, write_card
from training.export.figure import FIGURE, LADDER_FIGURE, draw, draw_ladders
from training.export.report import COLUMNS, ConsoleReport, cells, line
from training.export.write import ExportError, Source, export


def ignore(_event: str | ProfilePoint) -> None:
    """A report function that does nothing."""


def stop_at(text: str) -> Callable[[str | ProfilePoint], None]:
    """A report function that interrupts the export, like Ctrl-C, at a message that contains the text."""

    def report(event: str | ProfilePoint) -> None:
        if text in str(event):
            raise KeyboardInterrupt

    return report


def test_the_manifest_lists_every_other_file_with_its_checksum(artifact: Artifact) -> None:
    actual = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in artifact.folder.iterdir()
        if path.name != MANIFEST
    }
    assert artifact.manifest.files == actual
    assert FIGURE in actual


def test_the_manifest_describes_the_exported_network(artifact: Artifact, source: Source) -> None:
    manifest = artifact.manifest
    assert (manifest.name, manifest.version, manifest.network) == ("small", "3", "odenet-strided")
    assert manifest.parameters == 114_314
    assert manifest.dataset == "few-digits"
    assert manifest.classes == list("0123456789")
    assert manifest.normalisation.model_dump() == source.config.normalisation._asdict()
    assert manifest.methods == list(METHODS)
    assert manifest.recipe == {"seed": 7, **source.config.recipe.model_dump(mode="json", exclude_none=True)}
    with torch.no_grad():
        assert list(source.network.stem(source.dataset.test.images[:1]).shape[1:]) == manifest.state_shape


def test_the_weights_file_contains_the_weights_of_the_network(artifact: Artifact, source: Source) -> None:
    weights, expected = load_file(artifact.folder / WEIGHTS), source.network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_network_without_an_ode_has_stem_and_head_and_no_profile(mlp_artifact: Artifact) -> None:
    manifest = mlp_artifact.manifest
    assert (mlp_artifact.folder / METRICS).read_text() == METRICS_LINE
    assert manifest.files.keys() == {"stem.onnx", "head.onnx", WEIGHTS, CARD, METRICS}
    assert (manifest.network, manifest.methods, manifest.default_solver) == ("mlp", [], None)
    assert manifest.state_shape == [300]
    assert mlp_artifact.profile is None
    assert "trade" not in mlp_artifact.card.lower()
    assert "solver" not in mlp_artifact.card
    assert [measured.nfe for measured in manifest.metrics] == [0, 0]


def test_the_graphs_of_a_network_without_an_ode_agree_with_torch(mlp_artifact: Artifact, few_digits: Dataset) -> None:
    images = few_digits.test.images.numpy()
    by_graphs = classify(OnnxBackend(mlp_artifact.folder, []), images, None)
    by_torch = classify(TorchBackend(load_network(mlp_artifact)), images, None)
    np.testing.assert_allclose(by_graphs.logits, by_torch.logits, atol=1e-4)


def test_the_default_solver_is_the_cheapest_adaptive_setting_that_agrees(
    default_solver: SolverSettings, profile: Profile
) -> None:
    (chosen,) = (point for point in profile.points if point.solver == default_solver)
    assert METHODS[default_solver.method].adaptive
    assert chosen.agreement >= 0.999
    for point in profile.points:
        if METHODS[point.solver.method].adaptive and point.nfe.mean < chosen.nfe.mean:
            assert point.agreement < 0.999, point.solver


def test_the_manifest_has_the_errors_of_the_graphs_at_the_default_solver(
    artifact: Artifact, default_solver: SolverSettings, few_digits: Dataset
) -> None:
    backend = OnnxBackend(artifact.folder, [default_solver.method])
    splits: dict[str, Split] = {"validation": few_digits.validation, "test": few_digits.test}
    assert [measured.split for measured in artifact.manifest.metrics] == list(splits)
    for measured in artifact.manifest.metrics:
        images, labels = (column.numpy() for column in splits[measured.split])
        answer = classify(backend, images, default_solver)
        expected = ErrorRate(int((answer.digits != labels).sum()), len(labels))
        assert measured.solver == default_solver
        assert measured.nfe == pytest.approx(answer.nfe.mean())
        assert (measured.errors, measured.rows) == (expected.errors, expected.rows)
        assert measured.rate == pytest.approx(expected.rate)
        assert measured.interval == pytest.approx(expected.interval)


def test_the_card_contains_the_measured_numbers(artifact: Artifact, profile: Profile) -> None:
    card = artifact.card
    assert card.startswith("# small, version 3\n")
    assert "114,314 parameters" in card
    assert "white ink on black or black ink on white; the network itself normalises the levels" in card
    assert f"]({FIGURE})" in card
    for measured in artifact.manifest.metrics:
        low, high = measured.interval
        rate = f"{measured.rate:.2%} | {measured.errors} | {measured.rows}"
        assert f"| {measured.split} | {rate} | {low:.2%} to {high:.2%} | {measured.nfe:.2f} |" in card
    settings, _, ladders = card.partition("## Agreement against cost")
    for point in profile.points:
        starts = f"| {point.solver} |", f"| **{point.solver}** (default) |"
        rows = [line for line in settings.splitlines() if line.startswith(starts)]
        assert len(rows) == 1, point.solver
        assert f"| {point.error:.2%} | {point.agreement:.2%} | {point.nfe.mean:.1f} | {point.nfe.p99} |" in rows[0]
    marked = [line for line in card.splitlines() if "(default)" in line]
    assert len(marked) == 1
    assert marked[0].startswith(f"| **{artifact.manifest.default_solver}** (default) |")
    for ladder in profile.ladders:
        costs = f"{ladder.escalated:.2%} | {ladder.nfe.mean:.2f} | {ladder.nfe.p99}"
        assert f"| {ladder} | {ladder.agreement:.2%} | {ladder.bound:.2%} | {costs} |" in ladders
    (recipe,) = re.findall(r"```json\n(.*)```", card, re.DOTALL)
    assert json.loads(recipe) == artifact.manifest.recipe


def test_card_and_figure_follow_from_the_manifest_and_the_profile(
    artifact: Artifact, profile: Profile, default_solver: SolverSettings, tmp_path: Path
) -> None:
    """The same measurement gives the same files, to the byte."""
    assert write_card(artifact.manifest, profile) == artifact.card
    draw(profile, default_solver, tmp_path / FIGURE)
    draw_ladders(profile, tmp_path / LADDER_FIGURE)
    for name in (FIGURE, LADDER_FIGURE):
        assert (tmp_path / name).read_bytes() == (artifact.folder / name).read_bytes()


def test_the_figure_names_every_method(artifact: Artifact) -> None:
    figure = (artifact.folder / FIGURE).read_text()
    for name in (*METHODS, "default", "validation error, %"):
        assert f">{name}</text>" in figure, name


def test_a_profile_without_any_error_can_be_drawn(
    profile: Profile, default_solver: SolverSettings, tmp_path: Path
) -> None:
    """The figure has logarithmic axes, which have no zero."""
    perfect = {"error": 0.0, "logit_deviation": 0.0}
    points = [point.model_copy(update=perfect) for point in profile.points]
    changed = profile.model_copy(update={"points": points})
    draw(changed, default_solver, tmp_path / FIGURE)
    assert ">default</text>" in (tmp_path / FIGURE).read_text()


def test_every_part_of_the_work_is_reported(profile: Profile, export_reports: list[str | ProfilePoint]) -> None:
    assert [event for event in export_reports if isinstance(event, ProfilePoint)] == profile.points
    messages = " / ".join(event for event in export_reports if isinstance(event, str))
    for method in METHODS:
        assert f"/ {method}: no logit differs by more than" in messages
    assert f"/ {SOLVE}: no logit differs by more than" in messages
    assert len(profile.points) == len(PROFILED)


def test_the_trade_off_is_printed_as_a_table_with_headings_and_an_estimate(
    profile: Profile, export_reports: list[str | ProfilePoint]
) -> None:
    console = Console(file=io.StringIO(), width=200)
    report = ConsoleReport(console)
    for event in export_reports:
        report(event)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    before, heading = lines.index(line(tuple(COLUMNS))) - 1, line(tuple(COLUMNS))
    assert lines.count(heading) == 1
    assert re.fullmatch(
        rf"measuring the trade-off of {len(PROFILED)} settings on .*, about \d:\d\d:\d\d", lines[before]
    )
    rows = [line(cells(point)) for point in profile.points]
    assert lines[before + 2 : before + 2 + len(rows)] == rows


def test_every_user_may_read_the_artifact(artifact: Artifact) -> None:
    """The service may run as another user than the export."""
    assert stat.S_IMODE(artifact.folder.stat().st_mode) == 0o755
    for path in artifact.folder.iterdir():
        assert path.stat().st_mode & 0o444 == 0o444, path.name


def test_the_export_leaves_no_other_files(artifact: Artifact) -> None:
    assert [path.name for path in artifact.folder.parent.iterdir()] == ["3"]
    expected = {
        MANIFEST,
        CARD,
        METRICS,
        FIGURE,
        LADDER_FIGURE,
        WEIGHTS,
        SOLVE,
        "profile.json",
        "stem.onnx",
        "dynamics.onnx",
        "head.onnx",
    }
    assert {path.name for path in artifact.folder.iterdir()} == expected | set(map(step_file, METHODS))


def test_an_existing_version_is_never_overwritten(artifact: Artifact, source: Source) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in artifact.folder.iterdir()}
    with pytest.raises(ExportError, match=r"small/3: exists already"):
        export(source, artifact.folder.parents[1], "small", "3", ignore)
    assert {path.name: path.stat().st_mtime_ns for path in artifact.folder.iterdir()} == before


def test_an_empty_version_folder_is_not_overwritten(source: Source, tmp_path: Path) -> None:
    (tmp_path / "small" / "1").mkdir(parents=True)
    with pytest.raises(ExportError, match=r"small/1: exists already"):
        export(source, tmp_path, "small", "1", ignore)


def test_an_interrupted_export_leaves_no_files(source: Source, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        export(source, tmp_path, "small", "1", stop_at("exporting the parts"))
    assert list((tmp_path / "small").iterdir()) == []


@pytest.mark.system
def test_an_artifact_that_cannot_be_read_does_not_appear(few_digits: Dataset, tmp_path: Path) -> None:
    """Another program puts a file into the unfinished folder, and a manifest cannot list the name of this file."""

    def spoil(event: str | ProfilePoint) -> None:
        if "measuring the errors" in str(event):
            (partial,) = (tmp_path / "discrete").iterdir()
            (partial / "not a file name").touch()

    with pytest.raises(ArtifactError, match="files"):
        export(unfitted("mlp", few_digits), tmp_path, "discrete", "1", spoil)
    assert list((tmp_path / "discrete").iterdir()) == []


def test_the_card_says_whether_the_fit_had_outliers(artifact: Artifact) -> None:
    manifest = artifact.manifest
    plain = {name: value for name, value in manifest.recipe.items() if name != "outliers"}
    exposed = plain | {"outliers": {"rows": 32, "weight": 0.1}}
    cards = [write_card(manifest.model_copy(update={"recipe": recipe}), None) for recipe in (plain, exposed)]
    assert ["fitted to be unsure" in card for card in cards] == [False, True]
    assert all("nothing is calibrated there" in card for card in cards)


def test_the_card_names_the_changes_of_looks_in_the_fit(artifact: Artifact) -> None:
    """It names those of the recipe and no others."""

    def card(*fields: str) -> str:
        recipe = {"augmentation": {"appearance": {field: {"share": 0.1, "most": 0.2} for field in fields}}}
        return write_card(artifact.manifest.model_copy(update={"recipe": recipe}), None)

    assert "training/appearance.py" not in card()
    assert "(`training/appearance.py`): fog and shadows, noise." in card("fog", "noise")
    assert "(`training/appearance.py`): scribbles across the digit, fog and" in card("fog", "noise", "scribble")


def test_the_card_has_a_name_for_every_change_of_looks() -> None:
    assert list(LOOKS) == list(Appearance.model_fields)
