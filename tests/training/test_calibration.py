"""The temperature: it is found for logits with a known temperature, and calibration changes no other file."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from models.artifact import CARD, MANIFEST, PROFILE, SOLVE, Artifact, ArtifactError, read, sha256
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from training.calibration import GREATEST, calibration, fit_temperature
from training.data import Dataset
from training.export.calibrate import calibrate


def drawn(factor: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels that are drawn from the softmax of random logits, and these logits multiplied by a factor."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (rows, 10)).astype(np.float32)
    labels = np.array([rng.choice(10, p=row) for row in softmax(logits.astype(float), axis=1)])
    return logits * np.float32(factor), labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_temperature_equals_the_factor_of_the_logits(factor: float) -> None:
    logits, labels = drawn(factor)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.03)
    after = calibration(logits, labels, temperature)
    assert after.ece < 0.015
    if factor != 1:
        before = calibration(logits, labels, 1.0)
        assert before.ece > 0.1
        assert before.nll > after.nll


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    """Two rows have the probability 0.8, and one of them is correct; two have 0.6, and both are correct."""
    logits = np.log(np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]], np.float32))
    measured = calibration(logits, np.array([0, 1, 0, 0]), 1.0)
    assert measured.ece == pytest.approx((0.3 * 2 + 0.4 * 2) / 4)
    assert measured.nll == pytest.approx(-np.log([0.8, 0.2, 0.6, 0.6]).mean())


def test_the_temperature_stays_within_its_limits_if_every_row_is_correct() -> None:
    logits = np.eye(10, dtype=np.float32)
    assert 1 / GREATEST <= fit_temperature(logits, np.arange(10)) <= GREATEST


def test_an_artifact_of_schema_version_2_is_calibrated_in_place(
    artifact: Artifact, artifact_copy: Path, few_digits: Dataset
) -> None:
    """The manifest and the card become equal to those of an export, to the byte. No other file changes."""
    older = json.loads((artifact_copy / MANIFEST).read_text()) | {"schema_version": 2}
    del older["temperature"]
    for measured in older["metrics"]:
        del measured["uncalibrated"], measured["calibrated"]
    (artifact_copy / CARD).write_text("another card")
    older["files"][CARD] = sha256(artifact_copy / CARD)
    (artifact_copy / MANIFEST).write_text(json.dumps(older))
    calibrated = calibrate(read(artifact_copy), few_digits)
    assert calibrated.manifest == artifact.manifest
    for name in (MANIFEST, CARD, PROFILE, SOLVE):
        assert (artifact_copy / name).read_bytes() == (artifact.folder / name).read_bytes(), name
    assert {path.name for path in artifact_copy.iterdir()} == {path.name for path in artifact.folder.iterdir()}


def test_the_manifest_has_the_temperature_of_the_validation_split(artifact: Artifact, few_digits: Dataset) -> None:
    manifest = artifact.manifest
    images, labels = (column.numpy() for column in few_digits.validation)
    answer = classify(OnnxBackend(artifact.folder, manifest.methods), images, manifest.default_solver)
    assert manifest.temperature == fit_temperature(answer.logits, labels)
    validation = manifest.metrics[0]
    assert validation.calibrated == calibration(answer.logits, labels, manifest.temperature)
    assert validation.uncalibrated == calibration(answer.logits, labels, 1.0)
    assert f"temperature of {manifest.temperature:g}" in artifact.card
    assert f"| validation | {validation.uncalibrated.ece:.2%} |" in artifact.card


def test_calibration_refuses_another_dataset(artifact_copy: Path, mnist: Dataset) -> None:
    before = (artifact_copy / MANIFEST).read_bytes()
    with pytest.raises(ArtifactError, match="fitted on few-digits; the given dataset is mnist"):
        calibrate(read(artifact_copy), mnist)
    assert (artifact_copy / MANIFEST).read_bytes() == before
