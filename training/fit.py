"""Fits a network by a recipe: the network, its average, its optimiser, and one epoch after another."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.backends.answer import Answer
from models.backends.protocol import classify
from models.backends.torch import TorchBackend
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.registry import NETWORKS
from models.solvers.settings import SolverSettings
from training import checkpoint, precision, processes
from training.augment import augment
from training.data import CLASSES, Dataset, Split
from training.digits import make_digits
from training.loss import training_loss
from training.outliers import make_outliers
from training.recipe import Recipe

VALIDATION_BATCH = 500
TIMED_BATCHES = 4
SYNTHETIC = (
    20_000  # digits made for a fit, which draws some for each batch and moves them; another number is another recipe
)
OUTLIERS = 12_000  # likewise
VALIDATION_OUTLIERS = 1_200


class Validation(NamedTuple):
    """What is measured after an epoch.

    Attributes:
        error: the error rate on the validation split.
        nfe: the mean NFE there.
        outlier_confidence: the mean over outliers of the greatest probability, at temperature 1; None for a fit without
            any.
    """

    error: float
    nfe: float
    outlier_confidence: float | None


@dataclass
class Fit:
    """A fit under way: the network, its average, the optimiser, and how far they have come.

    All randomness of an epoch follows from the seed and the epoch's number, so that a fit that is resumed after an
    epoch goes on exactly as it would have. Several processes fit as one does: each computes for its share of the rows
    of every batch.

    A recipe whose precision is "auto" is replaced by the same recipe with the precision that the device is fastest in.

    Args:
        recipe: how to fit.
        dataset: what to fit.
        device: where to compute.
        seed: of the initial weights, the order of the rows, the synthetic digits, the outliers, the augmentation and
            the drawn numbers of steps.
        teachers: of a recipe that has some, from images to logits (`training.distil.open_teachers`).

    Attributes:
        decision: the precision, and why it is that.
        normalisation: how the network scales pixels.
    """

    recipe: Recipe
    dataset: Dataset
    device: torch.device
    seed: int
    teachers: Sequence[Callable[[Tensor], Tensor]] = ()

    def __post_init__(self) -> None:
        if len(self.teachers) != len(self.recipe.distil.teachers if self.recipe.distil else ()):
            raise ValueError(f"distil.teachers: {len(self.teachers)} are given; the recipe says {self.recipe.distil}")
        self.decision = self._decide_precision()
        self.recipe = self.recipe.model_copy(update={"precision": self.decision.precision})
        self.normalisation: Normalisation = self.dataset.normalisation._replace(levels=self.recipe.levels)
        torch.manual_seed(self.seed)
        rows = {"batch_size": min(self.recipe.batch_size, len(self.dataset.fit.labels))}
        if self.recipe.synthetic:
            rows["synthetic.rows"] = self.recipe.synthetic.rows
        if self.recipe.outliers:
            rows["outliers.rows"] = self.recipe.outliers.rows
        for field, count in rows.items():
            processes.check_divisible(field, count, processes.count())
        self.network = NETWORKS[self.recipe.network](self.normalisation, CLASSES).to(self.device)
        self.parallel = DistributedDataParallel(self.network) if processes.count() > 1 else self.network
        moving_average = get_ema_multi_avg_fn(self.recipe.average_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=moving_average)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )
        self.schedule = OneCycleLR(
            self.optimiser,
            self.recipe.learning_rate,
            epochs=self.recipe.epochs,
            steps_per_epoch=self.batches,
            cycle_momentum=False,
        )
        self.epoch = 0
        self.fit_split = self.dataset.fit.to(self.device)

    @property
    def batches(self) -> int:
        """Batches in an epoch; rows that do not fill one are left out of it."""
        return max(1, len(self.dataset.fit.labels) // self.recipe.batch_size)

    def _decide_precision(self) -> precision.Decision:
        """The recipe's precision, or the one that the first process measures to be the fastest."""
        if self.recipe.precision != "auto":
            return precision.Decision(self.recipe.precision, "the recipe names it")
        measured = precision.choose(self.device)
        of_first = torch.tensor(float(processes.rank() == 0 and measured.precision == "bfloat16"), device=self.device)
        chosen: precision.Precision = "bfloat16" if float(processes.add_up(of_first)) else "float32"
        return precision.Decision(chosen, measured.reason)

    def time_epoch(self) -> float:
        """Estimate the seconds of an epoch and its validation, from a few batches; nothing of the fit changes."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        rows = torch.arange(min(self.recipe.batch_size, len(self.fit_split.labels)), device=self.device)
        self.network.train()
        started = time.perf_counter()
        for batch in range(1 + TIMED_BATCHES):
            loss, _, _ = self._loss(rows, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.detach().item()  # waits for the device
            if batch == 0:  # which also makes the synthetic digits and outliers, and warms up
                started = time.perf_counter()
        seconds = self.batches * (time.perf_counter() - started) / TIMED_BATCHES
        self.optimiser.zero_grad()
        images = self.dataset.validation.images
        started = time.perf_counter()
        self._answer(images[:VALIDATION_BATCH])
        return seconds + (time.perf_counter() - started) * max(1, len(images) / VALIDATION_BATCH)

    def train_epoch(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Train for an epoch; after each batch, yield this process's digits, the loss, and the errors among them."""
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.fit_split.labels), generator=generator, device=self.device)
        self.network.train()
        for rows in order[: self.batches * self.recipe.batch_size].chunk(self.batches):
            loss, logits, labels = self._loss(rows, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            yield len(labels), loss.detach(), (logits.argmax(1) != labels).sum()
        self.epoch += 1

    def _loss(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of this process's share of a batch, the logits of its digits, and their labels.

        All processes draw the same, so that how many there are changes nothing.

        Args:
            rows: of the fit split; synthetic digits and outliers are drawn beside them.
            generator: draws all that is random.
        """
        share = slice(processes.rank(), None, processes.count())
        images = self._augmented(self.fit_split.images[rows], generator)[share]
        labels = self.fit_split.labels[rows][share]
        if self.recipe.synthetic:
            drawn = self._draw(self._synthetic.labels, self.recipe.synthetic.rows, generator)
            images = torch.cat([images, self._augmented(self._synthetic.images[drawn], generator)[share]])
            labels = torch.cat([labels, self._synthetic.labels[drawn][share]])
        targets = self._targets(images)
        if self.recipe.outliers:
            drawn = self._draw(self._outliers, self.recipe.outliers.rows, generator)
            images = torch.cat([images, self._augmented(self._outliers[drawn], generator)[share]])
        loss, logits = training_loss(self.parallel, self.recipe, images, labels, generator, targets)
        return loss, logits, labels

    @torch.no_grad()
    def _targets(self, images: Tensor) -> Tensor | None:
        """The mean of the teachers' probabilities; None for a recipe without any."""
        if self.recipe.distil is None:
            return None
        enabled = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            logits = torch.stack([teacher(images) for teacher in self.teachers])
        return torch.softmax(logits.float() / self.recipe.distil.temperature, dim=2).mean(0)

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images, self.recipe.augmentation, generator)

    def _draw(self, pool: Tensor, rows: int, generator: torch.Generator) -> Tensor:
        """Rows of a pool, any of them perhaps more than once."""
        return torch.randint(len(pool), (rows,), generator=generator, device=self.device)

    @cached_property
    def _synthetic(self) -> Split:
        rows = min(SYNTHETIC, len(self.dataset.fit.labels))
        return make_digits(rows, self.seed).to(self.device)

    @cached_property
    def _outliers(self) -> Tensor:
        rows = min(OUTLIERS, len(self.dataset.fit.labels))
        return make_outliers(self.dataset.fit, rows, self.seed).to(self.device)

    @cached_property
    def _validation_outliers(self) -> Tensor:
        rows = min(VALIDATION_OUTLIERS, len(self.dataset.validation.labels))
        return make_outliers(self.dataset.validation, rows, self.seed + 1)

    def validate(self) -> Validation:
        """Measure the averaged network on the validation split, and on outliers of another seed."""
        images, labels = self.dataset.validation
        answer = self._answer(images)
        confidence = None
        if self.recipe.outliers:
            probabilities = self._answer(self._validation_outliers).probabilities(temperature=1)
            confidence = float(probabilities.max(axis=1).mean())
        return Validation(float((answer.digits != labels.numpy()).mean()), float(answer.nfe.mean()), confidence)

    def _answer(self, images: Tensor) -> Answer:
        """What the averaged network says of images, by the validation solver."""
        told = self.recipe.validation
        solver = None if told is None else SolverSettings.adaptive(told.method, told.tolerance)
        backend = TorchBackend(cast(Network, self.average.module), self.device.type)
        return classify(backend, images.numpy(), solver, VALIDATION_BATCH)

    def state(self) -> checkpoint.State:
        """All that the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: checkpoint.State) -> None:
        """Go on from a state that was saved."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
