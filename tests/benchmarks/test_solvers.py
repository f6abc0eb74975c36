"""Errors of a fitted ODE-Net with solvers that it was not fitted with."""

from benchmarks.solvers import SOLVERS, errors, trained_by
from models.artifact import Artifact
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from training.data import Dataset


def test_errors_are_measured_with_each_solver(artifact: Artifact, few_digits: Dataset) -> None:
    images, labels = few_digits.validation
    measured = list(errors(artifact, few_digits.validation))
    backend = OnnxBackend(artifact.folder, artifact.manifest.methods)
    for solver, error in zip(SOLVERS, measured, strict=True):
        assert error == (classify(backend, images.numpy(), solver).digits != labels.numpy()).mean()


def test_a_method_that_is_not_exported_has_no_error(two_methods: Artifact, few_digits: Dataset) -> None:
    no_solve, *others, dopri5 = errors(two_methods, few_digits.validation)
    assert others == [None, None, None]
    assert no_solve is not None
    assert dopri5 is not None


def test_the_training_solver_is_described_briefly(artifact: Artifact) -> None:
    def description(**solver: object) -> str:
        recipe = artifact.manifest.recipe | {"solver": solver}
        manifest = artifact.manifest.model_copy(update={"recipe": recipe})
        return trained_by(Artifact(artifact.folder, manifest, artifact.profile, artifact.card))

    assert description(gradient="adjoint", method="rk4", steps=2) == "rk4, 2 steps, adjoint"
    assert description(gradient="solver", method="euler", steps=[1], kinetic_penalty=0) == "euler, steps 1"
    assert (
        description(gradient="solver", method="rk4", steps=[1, 2], kinetic_penalty=0.02)
        == "rk4, steps 1 or 2, kinetic penalty 0.02"
    )
