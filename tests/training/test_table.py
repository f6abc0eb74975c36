"""The table of a models folder: one row per name, which combines the seeds of a recipe."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.artifact import CARD, MANIFEST, Artifact, ArtifactError
from models.artifact import sha256 as checksum
from training.data import Dataset
from training.table import COLUMNS, measure_table, render


def add(models: Path, artifact: Artifact, version: str, **changes: Any) -> None:
    """Copy an artifact as another version, with a changed recipe or changed test errors."""
    folder = models / artifact.manifest.name / version
    shutil.copytree(artifact.folder, folder)
    manifest = json.loads((folder / MANIFEST).read_text()) | {"version": version}
    for measured in manifest["metrics"]:
        measured.update(
            {"errors": changes.pop("errors")} if "errors" in changes and measured["split"] == "test" else {}
        )
    manifest["recipe"] |= changes
    manifest["files"][CARD] = checksum(folder / CARD)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def table(models: Path, dataset: Dataset) -> list[dict[str, str]]:
    """The rows of the table, each by column name."""
    heading, rule, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in render(measure_table(models, dataset))
    )
    assert heading == list(COLUMNS)
    assert set(rule) == {"---"}
    return [dict(zip(heading, row, strict=True)) for row in rows]


def test_a_row_contains_error_size_and_cost(mlp_artifact: Artifact, few_digits: Dataset, tmp_path: Path) -> None:
    add(tmp_path, mlp_artifact, "1", errors=4)
    (row,) = table(tmp_path, few_digits)
    assert row["name"] == "discrete"
    assert row["test error"] == "12.50%"  # 4 of the 32 digits
    assert row["95 % interval"] == "4.97% to 28.07%"
    assert row["parameters"] == "238,510"
    assert (row["solver"], row["gradient"], row["NFE"]) == ("", "", "0.0")
    assert all(int(row[cost].replace(",", "")) > 0 for cost in ("activations, kB", "forward, µs", "answer, µs"))


def test_a_network_that_learnt_from_teachers_has_a_row(
    mlp_artifact: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    distil = {"teachers": ["runs/teacher"], "temperature": 2, "weight": 0.5}
    add(tmp_path, mlp_artifact, "1", distil=distil)
    (row,) = table(tmp_path, few_digits)
    assert row["name"] == "discrete"


def test_the_seeds_of_a_recipe_share_a_row(mlp_artifact: Artifact, few_digits: Dataset, tmp_path: Path) -> None:
    """The row has the mean of the seeds, with one seed's interval. Other recipes and repeated seeds are left out."""
    add(tmp_path, mlp_artifact, "1", errors=30, epochs=99)
    add(tmp_path, mlp_artifact, "2", errors=2, seed=1)
    add(tmp_path, mlp_artifact, "3", errors=31, seed=2)
    add(tmp_path, mlp_artifact, "4", errors=6, seed=2)
    (row,) = table(tmp_path, few_digits)
    assert row["test error"] == "12.50% (of 2 seeds: 6.25%, 18.75%)"
    assert row["95 % interval"] == "4.97% to 28.07%"


def test_networks_without_an_ode_come_first(
    artifact: Artifact, mlp_artifact: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    add(tmp_path, artifact, "3")
    add(tmp_path, mlp_artifact, "1")
    discrete, solved = table(tmp_path, few_digits)
    assert (discrete["name"], solved["name"]) == ("discrete", "small")
    assert solved["solver"] == str(artifact.manifest.default_solver)
    assert float(solved["NFE"]) > 0
    assert solved["gradient"] == "solver"


def test_the_error_names_a_folder_without_artifacts(few_digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=f"{tmp_path}: contains no artifact"):
        list(measure_table(tmp_path, few_digits))


def test_the_error_names_an_artifact_with_an_invalid_recipe(
    mlp_artifact: Artifact, few_digits: Dataset, tmp_path: Path
) -> None:
    add(tmp_path, mlp_artifact, "1", epochs="many")
    with pytest.raises(ArtifactError, match=r"discrete/1: recipe\.epochs: "):
        list(measure_table(tmp_path, few_digits))
