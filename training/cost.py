"""What a training step costs: time forward and backward, and the memory of the activations between them."""

import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.loss import training_loss
from training.recipe import Recipe, SolverGradient

PASSES = 5


class Activations:
    """Counts the tensors that autograd keeps for the backward pass, each storage once, parameters not at all.

    What autocast makes of parameters in another type is counted: it is there only for the passes.

    Attributes:
        peak: the most bytes that were kept at the same time.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._kept = 0
        self._references = Counter[int]()

    def keep(self, tensor: Tensor) -> "_Kept":
        """A tensor is kept."""
        kept = _Kept(tensor)
        if not isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter):
            storage = tensor.untyped_storage()
            place, size = storage.data_ptr(), storage.nbytes()
            if self._references[place] == 0:
                self._kept += size
                self.peak = max(self.peak, self._kept)
            self._references[place] += 1
            weakref.finalize(kept, self._release, place, size)
        return kept

    def _release(self, place: int, size: int) -> None:
        self._references[place] -= 1
        if self._references[place] == 0:
            self._kept -= size


class _Kept:
    """What autograd holds in a tensor's place; when it is let go, the tensor is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def count_activations() -> Iterator[Activations]:
    """Count what is kept for a backward pass by all that is computed inside."""
    activations = Activations()
    with torch.autograd.graph.saved_tensors_hooks(activations.keep, lambda kept: kept.tensor):
        yield activations


class Cost(NamedTuple):
    """Of a training step, for each image; where the number of steps is drawn, the mean time and the greatest memory.

    Attributes:
        forward: seconds of the processor to the loss; the least of some passes, as other work only adds.
        backward: seconds from there to the gradients, likewise.
        memory: the most bytes of activations kept at the same time.
    """

    forward: float
    backward: float
    memory: float


def training_cost(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> Cost:
    """Measure a training step on a batch; the network's gradients are cleared.

    Args:
        network: that of the recipe, on the CPU.
        recipe: with the training solver and the precision; its outliers are left out, as each costs what a digit does.
        images: ``[rows, 28, 28]``.
        labels: ``[rows]``.
    """
    images, labels = images.clone(), labels.clone()  # of a part of a dataset the whole storage would be counted
    costs = [_cost(network, variant, images, labels) for variant in _variants(recipe)]
    forward, backward, memory = zip(*costs, strict=True)
    return Cost(fmean(forward), fmean(backward), max(memory))


def _variants(recipe: Recipe) -> list[Recipe]:
    """The recipe, once for each number of steps that it may draw."""
    recipe, solver = recipe.model_copy(update={"outliers": None}), recipe.solver
    if not isinstance(solver, SolverGradient):
        return [recipe]
    fixed = (solver.model_copy(update={"steps": (steps,)}) for steps in solver.steps)
    return [recipe.model_copy(update={"solver": one}) for one in fixed]


def _cost(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> Cost:
    forward, backward = [], []
    with count_activations() as activations:
        _step(network, recipe, images, labels)
    for _ in range(PASSES):
        seconds = _step(network, recipe, images, labels)
        forward.append(seconds[0])
        backward.append(seconds[1])
    rows = len(labels)
    return Cost(min(forward) / rows, min(backward) / rows, activations.peak / rows)


def _step(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """One step's seconds forward and backward."""
    network.zero_grad()
    started = time.process_time()
    loss, _ = training_loss(network, recipe, images, labels, torch.Generator().manual_seed(0))
    between = time.process_time()
    loss.backward()  # type: ignore[no-untyped-call]
    ended = time.process_time()
    network.zero_grad()
    return between - started, ended - between
