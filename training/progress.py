"""Shows how far a fit has come: a bar on a terminal, and a line at each tenth of an epoch anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10
"""Lines an epoch, where there is no terminal."""


class Standing(NamedTuple):
    """What is known after a batch.

    Attributes:
        epoch: the epoch under way, from 1.
        batch: how many of its batches are done.
        loss: the mean over the epoch so far.
        error: the error rate over the epoch so far.
        speed: images a second.
    """

    epoch: int
    batch: int
    loss: float
    error: float
    speed: float


class Show(Protocol):
    """Told after each batch."""

    def __call__(self, standing: Standing) -> None:
        """Show it, or wait for a later one."""


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, epochs: int, batches: int) -> None:
        self._progress, self._task, self._epochs, self._batches = progress, task, epochs, batches

    def __call__(self, standing: Standing) -> None:
        self._progress.update(
            self._task,
            completed=(standing.epoch - 1) * self._batches + standing.batch,
            description=f"epoch {standing.epoch}/{self._epochs}",
            loss=standing.loss,
            error=standing.error,
            speed=standing.speed,
        )


class _Lines:
    def __init__(self, console: Console, epochs: int, batches: int, done: int) -> None:
        self._console, self._epochs, self._batches, self._done = console, epochs, batches, done * batches
        self._started = time.perf_counter()

    def __call__(self, standing: Standing) -> None:
        tenth, before = (LINES * batch // self._batches for batch in (standing.batch, standing.batch - 1))
        if tenth == before:
            return
        done = (standing.epoch - 1) * self._batches + standing.batch
        each = (time.perf_counter() - self._started) / (done - self._done)
        left = duration(each * (self._epochs * self._batches - done))
        self._console.print(
            f"  {standing.batch / self._batches:.0%} of epoch {standing.epoch}: loss {standing.loss:.4f}  "
            f"error {standing.error:.2%}  {standing.speed:,.0f} images/s  {left} left",
            highlight=False,
        )


@contextmanager
def shown(console: Console, epochs: int, batches: int, done: int) -> Iterator[Show]:
    """Show the progress of a fit for as long as the context lasts.

    Args:
        console: where.
        epochs: of the whole fit.
        batches: in an epoch.
        done: epochs that were done before.
    """
    if not console.is_terminal:
        yield _Lines(console, epochs, batches, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  error {task.fields[error]:.2%}  {task.fields[speed]:,.0f} images/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=epochs * batches, completed=done * batches, loss=0.0, error=0.0, speed=0.0)
        yield _Bar(progress, task, epochs, batches)


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
