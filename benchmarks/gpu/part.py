"""Runs one part in this process: ``python -m benchmarks.gpu.part NAME --device DEVICE --scale SCALE --report FILE``."""

import time
import traceback
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.gpu.check import SCALES, Check
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.report import Report


def run(name: str, check: Check, path: Path | None = None) -> Report:
    """Run a part. A failure is part of its report.

    Args:
        name: the name of the part.
        check: what to measure.
        path: the file to save the report in, after each finding.
    """
    report, began = Report(name, path), time.perf_counter()
    try:
        PARTS[name].run(check, report)
    except Exception:  # noqa: BLE001 (the report of the part says why it failed)
        report.error = traceback.format_exc()
    report.seconds = time.perf_counter() - began
    report.save()
    return report


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(PARTS)}.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")],
    scale: Annotated[str, typer.Option(help=f"One of {', '.join(SCALES)}.")],
    report: Annotated[Path, typer.Option(help="The JSON file to write.")],
) -> None:
    """Run a part."""
    run(name, Check(device, SCALES[scale]), report)


if __name__ == "__main__":
    typer.run(main)
