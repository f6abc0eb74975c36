"""Part: an epoch of two fits: of a small network, and of the default network with synthetic digits and outliers."""

import time

import torch

from benchmarks.gpu.check import MODEL, Check
from benchmarks.gpu.report import Report
from benchmarks.serving.resident import MEGABYTE
from training.data import Dataset, Split
from training.fit import Fit
from training.recipe import RECIPES, read_recipe

NAMES = ("quick", MODEL)
"""The recipes. The first one needs neither synthetic digits nor outliers."""


def fitting(check: Check, report: Report) -> None:
    """Fit for an epoch by each recipe, and validate."""
    for name in NAMES:
        _fit(check, report, name)


def _fit(check: Check, report: Report, name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml").model_copy(update={"epochs": 1})
    began = time.perf_counter()
    fit = Fit(recipe, _few(check.dataset, check.scale.fit_rows), torch.device(check.device), seed=0)
    estimated = fit.time_epoch()  # this also draws the synthetic digits and the outliers
    ready = time.perf_counter()
    batches = list(fit.train_epoch())
    loss = float(torch.stack([loss for _, loss, _ in batches]).mean())
    ended = time.perf_counter()  # the loss is on the host, so the device has computed the epoch
    images = sum(rows for rows, _, _ in batches)
    validation = fit.validate()
    report.row(
        "an epoch",
        recipe=name,
        precision=f"{fit.recipe.precision}: {fit.decision.reason}",
        seconds_to_prepare=ready - began,
        estimated_seconds=estimated,
        batches=len(batches),
        images=images,
        seconds=ended - ready,
        images_per_second=images / (ended - ready),
        mean_loss=loss,
        validation_error=validation.error,
        validation_NFE=validation.nfe,
        MB_of_tensors=torch.cuda.max_memory_allocated() / MEGABYTE if check.device == "cuda" else None,
    )


def _few(dataset: Dataset, rows: int) -> Dataset:
    """A dataset with at most a number of rows in each split."""
    splits = (dataset.fit, dataset.validation, dataset.test)
    return Dataset(dataset.name, *(Split(*(column[:rows] for column in split)) for split in splits))
