"""Shows the progress of a fit: a bar on a terminal, otherwise a line at each tenth of an epoch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10
"""The number of lines per epoch if the output is not a terminal."""


class BatchReport(NamedTuple):
    """The progress of a fit after a batch.

    Attributes:
        epoch: the number of the current epoch, from 1.
        batch: the number of completed batches of this epoch.
        loss: the mean loss of this epoch so far.
        error: the error rate of this epoch so far.
        speed: images per second.
    """

    epoch: int
    batch: int
    loss: float
    error: float
    speed: float


class ShowProgress(Protocol):
    """A function that is called after each batch and shows the progress."""

    def __call__(self, report: BatchReport) -> None:
        """Show a report, or skip it."""


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, epochs: int, batches: int) -> None:
        self._progress, self._task, self._epochs, self._batches = progress, task, epochs, batches

    def __call__(self, report: BatchReport) -> None:
        self._progress.update(
            self._task,
            completed=(report.epoch - 1) * self._batches + report.batch,
            description=f"epoch {report.epoch}/{self._epochs}",
            loss=report.loss,
            error=report.error,
            speed=report.speed,
        )


class _Lines:
    def __init__(self, console: Console, epochs: int, batches: int, done: int) -> None:
        self._console, self._epochs, self._batches, self._done = console, epochs, batches, done * batches
        self._started = time.perf_counter()

    def __call__(self, report: BatchReport) -> None:
        tenth, before = (LINES * batch // self._batches for batch in (report.batch, report.batch - 1))
        if tenth == before:
            return
        done = (report.epoch - 1) * self._batches + report.batch
        seconds_per_batch = (time.perf_counter() - self._started) / (done - self._done)
        left = duration(seconds_per_batch * (self._epochs * self._batches - done))
        self._console.print(
            f"  {report.batch / self._batches:.0%} of epoch {report.epoch}: loss {report.loss:.4f}  "
            f"error {report.error:.2%}  {report.speed:,.0f} images/s  {left} left",
            highlight=False,
        )


@contextmanager
def show_progress(console: Console, epochs: int, batches: int, done: int) -> Iterator[ShowProgress]:
    """Show the progress of a fit inside the context.

    Args:
        console: the console to print on.
        epochs: the number of epochs of the whole fit.
        batches: the number of batches in an epoch.
        done: the number of epochs that were completed before.

    Yields:
        The function to call after each batch.
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
    """Format seconds as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))
