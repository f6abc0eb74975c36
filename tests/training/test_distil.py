"""Distillation: a student learns the probabilities of its teachers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from models.artifact import Artifact
from models.networks.registry import NETWORKS
from tests.training.fits import CPU, recipe, same, silent, without_ode
from training.data import Dataset
from training.distil import open_teachers
from training.fit import Fit
from training.loss import training_loss
from training.recipe import Recipe
from training.run import run

TEMPERATURE = 2.0


def student(weight: float, *teachers: str, **changes: object) -> Recipe:
    """A recipe with teachers."""
    distil = {"teachers": teachers or ("one",), "temperature": TEMPERATURE, "weight": weight}
    return without_ode("mlp", distil=distil, **changes)


@pytest.fixture(scope="module")
def teacher_run(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fitted network with an ODE."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run(Fit(recipe(epochs=1, network="odenet-strided"), digits, CPU, seed=1), folder, silent())
    return folder


def test_the_loss_is_a_weighted_sum_for_labels_and_teachers(digits: Dataset) -> None:
    fit_recipe = student(0.3)
    network, generator = NETWORKS["mlp"](digits.normalisation), torch.Generator()
    targets = torch.softmax(torch.randn(96, 10), dim=1)
    loss, logits = training_loss(network, fit_recipe, *digits.fit, generator, targets)
    divergence = (targets * (targets.log() - F.log_softmax(logits / TEMPERATURE, dim=1))).sum(1).mean()
    assert_close(loss, 0.7 * F.cross_entropy(logits, digits.fit.labels) + 0.3 * TEMPERATURE**2 * divergence)


def test_a_student_with_its_teachers_probabilities_has_a_loss_of_zero(digits: Dataset) -> None:
    network = NETWORKS["mlp"](digits.normalisation)
    with torch.no_grad():
        targets = torch.softmax(network(digits.fit.images) / TEMPERATURE, dim=1)
        loss, _ = training_loss(network, student(1.0), *digits.fit, torch.Generator(), targets)
    assert_close(loss, torch.tensor(0.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("fit_recipe", "targets"), [(student(0.5), None), (without_ode("mlp"), torch.zeros(96, 10))])
def test_targets_without_teachers_and_teachers_without_targets_are_refused(
    digits: Dataset, fit_recipe: Recipe, targets: Tensor | None
) -> None:
    network = NETWORKS["mlp"](digits.normalisation)
    with pytest.raises(ValueError, match=r"targets: .*, but the recipe's teachers are "):
        training_loss(network, fit_recipe, *digits.fit, torch.Generator(), targets)


def test_a_teacher_gives_logits_without_gradients(teacher_run: Path, mlp_artifact: Artifact, digits: Dataset) -> None:
    for teacher in open_teachers([str(teacher_run), str(mlp_artifact.folder)], CPU):
        logits = teacher(digits.fit.images[:4].float())
        assert logits.shape == (4, 10)
        assert not logits.requires_grad


def test_a_fit_learns_from_its_teachers(digits: Dataset) -> None:
    """The labels have no weight. Both teachers answer 7 for every picture, one with more certainty than the other."""
    answers = torch.zeros(2, 10)
    answers[:, 7] = torch.tensor([8.0, 2.0])
    teachers = [lambda images, row=row: answers[row].expand(len(images), 10) for row in range(2)]
    fit = Fit(student(1.0, "one", "other", synthetic={"rows": 8}), digits, CPU, 1, teachers)
    for _ in range(2):
        losses = [float(loss) for _, loss, _ in fit.train_epoch()]
    assert losses[-1] < losses[0]
    assert (fit.network(digits.validation.images).argmax(1) == 7).float().mean() > 0.9


def test_a_fit_refuses_another_number_of_teachers_than_its_recipe_has(digits: Dataset) -> None:
    with pytest.raises(ValueError, match=r"distil\.teachers: 0 teachers are given"):
        Fit(student(0.5), digits, CPU, seed=1)


def test_a_fit_with_teachers_gives_the_same_weights_for_the_same_seed(digits: Dataset, teacher_run: Path) -> None:
    fit_recipe = student(0.5, str(teacher_run), epochs=1)
    one, again = (Fit(fit_recipe, digits, CPU, 1, open_teachers([str(teacher_run)], CPU)) for _ in range(2))
    for fit in (one, again):
        list(fit.train_epoch())
    assert same(one.network, again.network)
