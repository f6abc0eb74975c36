"""The cost of a training step: the time of its forward and backward pass, and the memory of its activations."""

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
    """Counts the tensors that autograd saves for the backward pass. Each storage counts once; parameters do not count.

    Copies of parameters that autocast makes in another type do count, because they exist only for the passes.

    Attributes:
        peak: the greatest number of bytes that were saved at the same time.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._kept = 0
        self._references = Counter[int]()

    def keep(self, tensor: Tensor) -> "_Kept":
        """Count a tensor that autograd saves, and return the object that autograd holds instead of it."""
        kept = _Kept(tensor)
        if not isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter):
            storage = tensor.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            if self._references[address] == 0:
                self._kept += size
                self.peak = max(self.peak, self._kept)
            self._references[address] += 1
            weakref.finalize(kept, self._release, address, size)
        return kept

    def _release(self, address: int, size: int) -> None:
        self._references[address] -= 1
        if self._references[address] == 0:
            self._kept -= size


class _Kept:
    """The object that autograd holds instead of a tensor. The tensor is released together with this object."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def count_activations() -> Iterator[Activations]:
    """Count the tensors that all computations inside the context save for a backward pass."""
    activations = Activations()
    with torch.autograd.graph.saved_tensors_hooks(activations.keep, lambda kept: kept.tensor):
        yield activations


class Cost(NamedTuple):
    """The cost of a training step per image.

    If the number of solver steps is drawn at random, the times are means over the possible numbers, and the memory is
    the maximum.

    Attributes:
        forward: the processor seconds of the forward pass up to the loss. We keep the fastest of several passes,
            because other load can only slow a pass down.
        backward: the processor seconds from the loss to the gradients; also the fastest of several passes.
        memory: the greatest number of bytes of activations that were saved at the same time.
    """

    forward: float
    backward: float
    memory: float


def training_cost(network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> Cost:
    """Measure a training step on a batch, and clear the network's gradients.

    Args:
        network: the network of the recipe, on the CPU.
        recipe: the recipe with the training solver and the precision. Its outliers are left out, because an outlier
            costs as much as a digit. Its teachers are left out, because their cost is not the network's.
        images: ``[rows, 28, 28]``.
        labels: ``[rows]``.
    """
    images, labels = images.clone(), labels.clone()  # a slice of a dataset would count the storage of the whole dataset
    costs = [_cost(network, variant, images, labels) for variant in _variants(recipe)]
    forward, backward, memory = zip(*costs, strict=True)
    return Cost(fmean(forward), fmean(backward), max(memory))


def _variants(recipe: Recipe) -> list[Recipe]:
    """One copy of the recipe, without outliers and teachers, for each number of steps that may be drawn."""
    recipe, solver = recipe.model_copy(update={"outliers": None, "distil": None}), recipe.solver
    if not isinstance(solver, SolverGradient):
        return [recipe]
    fixed = (solver.model_copy(update={"steps": (steps,)}) for steps in solver.steps)
    return [recipe.model_copy(update={"solver": variant}) for variant in fixed]


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
    """The processor seconds of the forward pass and of the backward pass of one step."""
    network.zero_grad()
    started = time.process_time()
    loss, _ = training_loss(network, recipe, images, labels, torch.Generator().manual_seed(0))
    between = time.process_time()
    loss.backward()  # type: ignore[no-untyped-call]
    ended = time.process_time()
    network.zero_grad()
    return between - started, ended - between
