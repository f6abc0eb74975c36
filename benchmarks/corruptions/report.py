"""The errors as Markdown tables and as a figure."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import figures
from benchmarks.corruptions.kinds import CHOSEN, KINDS
from benchmarks.corruptions.measure import DEFAULT, Errors, Network

CLEAN = "none"
SMALLEST = 0.1  # per cent; smaller errors are drawn here, because a logarithmic axis has no zero


def with_means(found: Sequence[Errors]) -> list[Errors]:
    """Add the means over MNIST-C's 15 kinds and over all 26 kinds. No mean includes the clean digits.

    Args:
        found: the errors on every kind, in any order; the errors on the clean digits may be among them.
    """
    groups = {f"mean of MNIST-C's {len(CHOSEN)}": CHOSEN, f"mean of all {len(KINDS)}": KINDS}
    return [*found, *(_mean(name, [e for e in found if e.kind in group]) for name, group in groups.items())]


def _mean(name: str, of: Sequence[Errors]) -> Errors:
    raw, pictures = (np.mean(shares, axis=0).tolist() for shares in ([e.raw for e in of], [e.pictures for e in of]))
    return Errors(name, raw, pictures, float(np.mean([e.refused for e in of])))


def tables(networks: Sequence[Network], found: Sequence[Errors]) -> Iterator[str]:
    """The lines of two Markdown tables: errors for arrays, and errors for pictures with the share of refused pictures.

    Args:
        networks: the measured networks.
        found: the errors; each entry becomes a line.
    """
    columns = [
        network.name if network.solvers[setting] is None else f"{network.name}, {setting}"
        for network, setting in _columns(networks)
    ]
    yield from _table(["arrays", *columns], {errors.kind: errors.raw for errors in found})
    yield ""
    pictures = {errors.kind: [errors.refused, *errors.pictures] for errors in found}
    yield from _table(["pictures", "refused", *columns], pictures)


def _columns(networks: Sequence[Network]) -> list[tuple[Network, str]]:
    """Every setting of every network, in the order of `Errors`."""
    return [(network, setting) for network in networks for setting in network.solvers]


def _table(headings: list[str], lines: dict[str, list[float]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{' --- |' * len(headings)}"
    for kind, shares in lines.items():
        yield f"| {' | '.join([kind, *(f'{share:.1%}' for share in shares)])} |"


def draw(networks: Sequence[Network], found: Sequence[Errors], path: Path) -> None:
    """Draw the errors of every network at its default setting, for arrays and for pictures.

    Args:
        networks: the measured networks.
        found: the errors; each entry becomes a line of the figure.
        path: the SVG file.
    """
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for number, (network, setting) in enumerate(_columns(networks)):
        if setting == DEFAULT:
            _points(panels[0], [errors.raw[number] for errors in found], "o", label=network.name, alpha=0.8)
            _points(panels[1], [errors.pictures[number] for errors in found], "o", label=network.name, alpha=0.8)
    _points(panels[1], [errors.refused or math.nan for errors in found], "x", label="refused", color="black")
    for axes, title in zip(panels, ("arrays", "pictures"), strict=True):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        figures.label(axes, title, f"error, %; less than {SMALLEST:g} is drawn at {SMALLEST:g}", "")
    panels[0].set_yticks(range(len(found)), [errors.kind for errors in found], fontsize=8)
    panels[0].invert_yaxis()
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    figures.save(figure, path)


def _points(axes: Axes, shares: list[float], marker: str, **style: Any) -> None:
    percent = [max(100 * share, SMALLEST) for share in shares]
    axes.plot(percent, range(len(shares)), marker, markersize=4, **style)
