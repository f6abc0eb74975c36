"""Part: the answers of every shipped network by torch on the device, beside those of onnxruntime on the CPU."""

import time

import numpy as np

from benchmarks.gpu.check import Check, artifact_of
from benchmarks.gpu.report import Report
from benchmarks.gpu.solving import solve_all
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from service.processors import usable_processors

DEVIATION = 1e-3
"""The greatest difference of two logits."""


def networks(check: Check, report: Report) -> None:
    """Classify test digits with each network, by its default settings."""
    images = check.images(check.scale.images)
    for name in check.scale.networks:
        artifact = artifact_of(name)
        solver = artifact.manifest.default_solver
        reference = OnnxBackend(artifact.folder, artifact.manifest.methods, threads=usable_processors())
        expected = classify(reference, images, solver)
        began = time.perf_counter()
        backend = check.backend(artifact)
        loaded = time.perf_counter()
        answer = solve_all(backend, images, solver)
        ended = time.perf_counter()
        deviation = float(np.abs(answer.logits - expected.logits).max())
        other = int((answer.digits != expected.digits).sum())
        report.row(
            f"{len(images):,} test digits",
            network=name,
            solver=None if solver is None else str(solver),
            other_digits=other,
            greatest_difference_of_logits=deviation,
            images_with_other_nfe=int((answer.nfe != expected.nfe).sum()),
            seconds_to_load=loaded - began,
            images_per_second=len(images) / (ended - loaded),
        )
        report.claim(
            f"{name}: the digits of onnxruntime, and its logits within {DEVIATION:g}",
            f"0 digits, {DEVIATION:g}",
            f"{other} digits, {deviation:.2g}",
            holds=other == 0 and deviation <= DEVIATION,
        )
