"""Check serving and fitting on a GPU, in eight minutes.

    python -m benchmarks.gpu [--device cuda] [--scale full] [--out FOLDER] [--minutes 8] [--only PART]...

Each part runs in a process of its own and has a limit of time, because an error on a GPU makes the process useless. A
part that fails or hangs does not stop the others: its report has what it had found until then, and the error. Writes
gpu.json, gpu.md and gpu.log into the folder, after each part. ``--device cpu --scale small`` is the rehearsal.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated

import typer

from benchmarks.gpu.check import SCALES
from benchmarks.gpu.parts import MINUTES, PARTS
from benchmarks.gpu.report import Report, write
from benchmarks.serving.servers import ROOT
from benchmarks.serving.threads import family

LOG = "gpu.log"
LINES = 20
"""Lines of the log that are reported for a part whose process ends without a report."""


class Device(StrEnum):
    """The device to check."""

    cpu = "cpu"
    cuda = "cuda"


def main(
    device: Annotated[Device, typer.Option(help="The device to check.")] = Device.cuda,
    scale: Annotated[str, typer.Option(help=f"How much is measured: {' or '.join(SCALES)}.")] = "full",
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path("runs/gpu"),
    minutes: Annotated[float, typer.Option(min=0.1, help="After this time no more is measured.")] = MINUTES,
    only: Annotated[list[str] | None, typer.Option(help=f"Parts: {', '.join(PARTS)}.  [default: all]")] = None,
) -> None:
    """Run the parts, and write their reports. The exit status is 1 if a part did not end."""
    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"no part is called {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if scale not in SCALES:
        raise typer.BadParameter(f"no scale is called {scale}; the scales are {', '.join(SCALES)}")
    out.mkdir(parents=True, exist_ok=True)
    give_up, reports = time.monotonic() + 60 * minutes, list[Report]()
    with (out / LOG).open("w") as log:
        for name in PARTS:
            if only and name not in only:
                continue
            seconds = min(PARTS[name].seconds * minutes / MINUTES, give_up - time.monotonic())
            report = run_apart(name, device, scale, seconds, log) if seconds > 0 else Report(name)
            if seconds <= 0:
                report.error = f"not started: the {minutes:g} minutes are over"
            reports.append(report)
            typer.echo(report.markdown() + "\n")
            write(out, reports)
    if any(report.error for report in reports):
        raise typer.Exit(1)


def run_apart(name: str, device: str, scale: str, seconds: float, log: IO[str]) -> Report:
    """Run a part in a process of its own.

    Args:
        name: the name of the part.
        device: "cpu" or "cuda".
        scale: the name of the scale.
        seconds: the time after which the process and all its descendants are killed.
        log: receives the output of the process.
    """
    log.write(f"# {name}\n")
    log.flush()
    began, start, error = time.monotonic(), log.tell(), ""
    with TemporaryDirectory() as folder:
        path = Path(folder, "report.json")
        options = ("--device", device, "--scale", scale, "--report", str(path))
        arguments = [sys.executable, "-m", "benchmarks.gpu.part", name, *options]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=log, stderr=log) as process:  # noqa: S603
            try:
                status = process.wait(seconds)
                error = f"the process ended with status {status}" if status else ""
            except subprocess.TimeoutExpired:
                error = f"stopped after {seconds:.0f} s"
                kill(process)
        try:
            report = Report.read(path)
        except (OSError, ValueError):
            report = Report(name)
            error = error or "the process wrote no report"
    if error:
        report.seconds = time.monotonic() - began
        last = "\n".join(Path(log.name).read_text()[start:].splitlines()[-LINES:])
        report.error = f"{report.error}\n{error}\n{last}".strip()
    return report


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, which has not been waited for, and its descendants. Servers have process groups of their own."""
    for member in family(process.pid):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


if __name__ == "__main__":
    typer.run(main)
