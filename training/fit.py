"""Fits a network with a recipe, one epoch after another, with a moving average of the weights."""

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
SYNTHETIC = 20_000
"""The number of synthetic digits that are made for a fit. Each batch draws some of them and augments them. A change of
this number changes the result of a recipe."""
OUTLIERS = 12_000
"""The number of outliers that are made for a fit. Each batch draws some of them and augments them. A change of this
number changes the result of a recipe."""
VALIDATION_OUTLIERS = 1_200


class Validation(NamedTuple):
    """The measurements after an epoch.

    Attributes:
        error: the error rate on the validation split.
        nfe: the mean number of function evaluations per image on the validation split.
        outlier_confidence: the greatest probability of an outlier at temperature 1, averaged over the outliers; None
            for a fit without outliers.
    """

    error: float
    nfe: float
    outlier_confidence: float | None


@dataclass
class Fit:
    """A fit: the network, the average of its weights, the optimiser, and the number of completed epochs.

    The seed and the number of an epoch determine all random numbers of the epoch, so a fit that is resumed after an
    epoch gives exactly the same result. Several processes give the same result as one process, up to rounding: each
    process computes its share of the rows of every batch.

    If the precision of the recipe is "auto", the attribute `recipe` has the fastest precision of the device instead.

    Args:
        recipe: the recipe of the fit.
        dataset: the dataset to fit on.
        device: the device to compute on.
        seed: the seed of the initial weights, the order of the rows, the synthetic digits, the outliers, the
            augmentation and the numbers of steps.
        teachers: the teachers of the recipe, as functions from images to logits (`training.distil.open_teachers`).

        start: the network of the recipe's field `start` (`training.fitted.open_fitted`); None for a recipe without it.

    Attributes:
        decision: the precision, and the reason for it.
        normalisation: how the network scales pixels.

    Raises:
        ValueError: the number of teachers differs from the recipe, the recipe and `start` do not fit together, or a
            number of rows does not divide evenly among the processes.
    """

    recipe: Recipe
    dataset: Dataset
    device: torch.device
    seed: int
    teachers: Sequence[Callable[[Tensor], Tensor]] = ()
    start: Network | None = None

    def __post_init__(self) -> None:
        if len(self.teachers) != len(self.recipe.distil.teachers if self.recipe.distil else ()):
            raise ValueError(
                f"distil.teachers: {len(self.teachers)} teachers are given, but the recipe has {self.recipe.distil}"
            )
        self.decision = self._decide_precision()
        self.recipe = self.recipe.model_copy(update={"precision": self.decision.precision})
        self.normalisation: Normalisation = self.dataset.normalisation._replace(levels=self.recipe.levels)
        torch.manual_seed(self.seed)
        row_counts = {"batch_size": min(self.recipe.batch_size, len(self.dataset.fit.labels))}
        if self.recipe.synthetic:
            row_counts["synthetic.rows"] = self.recipe.synthetic.rows
        if self.recipe.outliers:
            row_counts["outliers.rows"] = self.recipe.outliers.rows
        for field, rows in row_counts.items():
            processes.check_divisible(field, rows, processes.count())
        self.network = self._new_network().to(self.device)
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
        """The number of batches in an epoch. Rows that do not fill a batch are left out of the epoch."""
        return max(1, len(self.dataset.fit.labels) // self.recipe.batch_size)

    def _new_network(self) -> Network:
        """The network of the recipe, with random weights or with the weights that the fit starts from."""
        network = NETWORKS[self.recipe.network](self.normalisation, CLASSES)
        if self.recipe.start is None and self.start is None:
            return network
        if self.recipe.start is None or type(self.start) is not type(network):
            given = "no network" if self.start is None else f"a {type(self.start).__name__}"
            raise ValueError(
                f"start: {given} is given, but the recipe fits a {type(network).__name__} from {self.recipe.start}"
            )
        network.load_state_dict(self.start.state_dict())
        return network

    def _decide_precision(self) -> precision.Decision:
        """The precision of the recipe, or, for "auto", the fastest precision that the first process measures."""
        if self.recipe.precision != "auto":
            return precision.Decision(self.recipe.precision, "the recipe names it")
        measured = precision.choose(self.device)
        vote = torch.tensor(float(processes.rank() == 0 and measured.precision == "bfloat16"), device=self.device)
        chosen: precision.Precision = "bfloat16" if float(processes.add_up(vote)) else "float32"
        return precision.Decision(chosen, measured.reason)

    def time_epoch(self) -> float:
        """Estimate the seconds of an epoch with its validation from a few batches, without a change of the fit."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        indices = torch.arange(min(self.recipe.batch_size, len(self.fit_split.labels)), device=self.device)
        self.network.train()
        started = time.perf_counter()
        for batch in range(1 + TIMED_BATCHES):
            loss, _, _ = self._loss(indices, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            loss.detach().item()  # waits for the device
            if batch == 0:  # the first batch is a warm-up, and it makes the synthetic digits and outliers
                started = time.perf_counter()
        seconds = self.batches * (time.perf_counter() - started) / TIMED_BATCHES
        self.optimiser.zero_grad()
        images = self.dataset.validation.images
        started = time.perf_counter()
        self._answer(images[:VALIDATION_BATCH])
        return seconds + (time.perf_counter() - started) * max(1, len(images) / VALIDATION_BATCH)

    def train_epoch(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Train for an epoch.

        Yields:
            After each batch, of this process: the number of digits, the loss, and the number of errors.
        """
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.fit_split.labels), generator=generator, device=self.device)
        self.network.train()
        for indices in order[: self.batches * self.recipe.batch_size].chunk(self.batches):
            loss, logits, labels = self._loss(indices, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            yield len(labels), loss.detach(), (logits.argmax(1) != labels).sum()
        self.epoch += 1

    def _loss(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of this process's share of a batch, the logits of its digits, and their labels.

        All processes draw the same random numbers, so the number of processes does not change the batch.

        Args:
            indices: the rows of the fit split in the batch. Synthetic digits and outliers are added to them.
            generator: the source of all random numbers.
        """
        share = slice(processes.rank(), None, processes.count())
        images = self._augmented(self.fit_split.images[indices], generator)[share]
        labels = self.fit_split.labels[indices][share]
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
        """The mean of the teachers' probabilities; None for a recipe without teachers."""
        if self.recipe.distil is None:
            return None
        enabled = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            logits = torch.stack([teacher(images) for teacher in self.teachers])
        return torch.softmax(logits.float() / self.recipe.distil.temperature, dim=2).mean(0)

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return augment(images, self.recipe.augmentation, generator)

    def _draw(self, pool: Tensor, rows: int, generator: torch.Generator) -> Tensor:
        """Draw the indices of rows of a pool, with replacement."""
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
        """The answer of the averaged network to images, with the validation solver."""
        validation = self.recipe.validation
        solver = None if validation is None else SolverSettings.adaptive(validation.method, validation.tolerance)
        backend = TorchBackend(cast(Network, self.average.module), self.device.type)
        return classify(backend, images.numpy(), solver, VALIDATION_BATCH)

    def state(self) -> checkpoint.State:
        """The state that the next epoch depends on, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: checkpoint.State) -> None:
        """Restore a state that `state` returned."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
