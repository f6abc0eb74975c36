"""The figures of the trade-off: error, deviation from the tight reference, and agreement, against evaluations."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from models.profile import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings

FIGURE = "tradeoff.svg"
LADDER_FIGURE = "ladders.svg"

SMALLEST_DEVIATION = 1e-6
"""Smaller deviations are drawn at this value, because a logarithmic axis has no zero. The deviation of the reference
from itself is 0."""


def draw(profile: Profile, default: SolverSettings, path: Path) -> None:
    """Draw a profile, with a circle around the default solver.

    Args:
        profile: the measured profile.
        default: the setting to mark.
        path: the SVG file to write.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    error_axes, deviation_axes = figure.subplots(1, 2)
    for name, method in METHODS.items():
        points = [point for point in profile.points if point.solver.method == name]
        nfe = [point.nfe.mean for point in points]
        style = "o-" if method.adaptive else "s:"
        errors = [_percent(point, profile) for point in points]
        error_axes.plot(nfe, errors, style, label=name, markersize=4, linewidth=1)
        deviations = [max(point.logit_deviation, SMALLEST_DEVIATION) for point in points]
        deviation_axes.plot(nfe, deviations, style, label=name, markersize=4, linewidth=1)
    chosen = next(point for point in profile.points if point.solver == default)
    _circle(error_axes, chosen, _percent(chosen, profile))
    _circle(deviation_axes, chosen, max(chosen.logit_deviation, SMALLEST_DEVIATION))
    for axes, label in ((error_axes, "validation error, %"), (deviation_axes, "mean deviation of the logits")):
        axes.set(xscale="log", yscale="log", xlabel="function evaluations per image (mean)", ylabel=label)
        axes.grid(alpha=0.3, which="both", linewidth=0.5)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    error_axes.yaxis.set_major_formatter("{x:g}")
    error_axes.yaxis.set_minor_formatter("{x:.2g}")
    error_axes.set_title("error against cost", fontsize=10)
    deviation_axes.set_title(f"deviation from {profile.reference}", fontsize=10)
    deviation_axes.legend(fontsize=8)
    save(figure, path)


def draw_ladders(profile: Profile, path: Path) -> None:
    """Draw the disagreement of ladders against their evaluations, beside the settings of adaptive methods.

    Args:
        profile: the measured profile.
        path: the SVG file to write.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, method in METHODS.items():
        points = [point for point in profile.points if point.solver.method == name]
        if method.adaptive:
            disagreements = [_disagreement(point.agreement, profile.rows) for point in points]
            axes.plot([point.nfe.mean for point in points], disagreements, "o-", label=name, markersize=4, linewidth=1)
    for ladder in profile.ladders:
        if ladder.curve:
            nfe = [point.nfe for point in ladder.curve]
            axes.plot(nfe, [_disagreement(point.agreement, ladder.rows) for point in ladder.curve], "k-", linewidth=2)
            place = ladder.nfe.mean, _disagreement(ladder.agreement, ladder.rows)
            axes.plot(*place, "k*", markersize=14, label="solved again below a margin")
    axes.set(xscale="log", yscale="log", xlabel="function evaluations per image (mean)")
    axes.set_ylabel(f"other digit than {profile.reference}, % of the images")
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG. The same figure always gives the same file."""
    with mpl.rc_context({"svg.hashsalt": "odenet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _percent(point: ProfilePoint, profile: Profile) -> float:
    """The error in per cent. An error of zero is drawn as half an image, because a logarithmic axis has no zero."""
    return 100 * max(point.error, 0.5 / profile.rows)


def _disagreement(agreement: float, rows: int) -> float:
    """The disagreement in per cent. Zero is drawn as half an image, because a logarithmic axis has no zero."""
    return 100 * max(1 - agreement, 0.5 / rows)


def _circle(axes: Axes, point: ProfilePoint, y: float) -> None:
    """Mark the point of the default solver."""
    axes.plot([point.nfe.mean], [y], "o", markersize=12, fillstyle="none", color="black")
    axes.annotate("default", (point.nfe.mean, y), xytext=(8, 8), textcoords="offset points", fontsize=8)
