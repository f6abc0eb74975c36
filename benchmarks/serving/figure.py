"""The figure of the serving benchmark: one panel for each comparison that was measured."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import figures
from benchmarks.serving.report import Findings, Panel

BARS = {Panel.throughput: "images per second", Panel.mixed: "milliseconds"}
CURVES = {
    Panel.latency: ("offered load, requests per second", "p99, ms"),
    Panel.overload: ("offered load, times the peak", "images answered in time, per second"),
}


def draw(found: Findings, path: Path) -> None:
    """Draw the findings.

    Args:
        found: the findings. Panels of scenarios that were not measured are left out.
        path: the SVG file.
    """
    panels = [panel for panel in (*BARS, *CURVES) if found.bars.get(panel) or found.curves.get(panel)]
    if not panels:
        return
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5.5 * columns, 3.6 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        if panel in BARS:
            _bars(axes, panel, found)
        else:
            _curves(axes, panel, found)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figures.save(figure, path)


def _bars(axes: Axes, panel: Panel, found: Findings) -> None:
    values = found.bars[panel]
    bars = axes.barh(list(values), list(values.values()), height=0.6)
    axes.bar_label(bars, fmt="{:,.3g}" if max(values.values()) < 100 else "{:,.0f}", fontsize=8, padding=3)
    for number, (name, value) in enumerate(found.limits[panel].items()):
        axes.axvline(value, color="black", linestyle=(":", "--")[number % 2], linewidth=1, label=name)
    if found.limits[panel]:
        axes.legend(fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelsize=8)
    figures.label(axes, panel, BARS[panel], "")


def _curves(axes: Axes, panel: Panel, found: Findings) -> None:
    for name, points in found.curves[panel].items():
        axes.plot(*zip(*points, strict=True), "o-", label=name, markersize=4, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    x, y = CURVES[panel]
    figures.label(axes, panel, x, y)
    if panel is Panel.latency:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        _evaluations(axes, found)
    axes.legend(fontsize=8)


def _evaluations(axes: Axes, found: Findings) -> None:
    """Draw the evaluations of degraded answers on a second axis."""
    second = axes.twinx()
    for points in found.curves[Panel.evaluations].values():
        second.plot(*zip(*points, strict=True), "s:", color="grey", markersize=4, linewidth=1)
    second.set_ylabel(f"{Panel.evaluations} (squares)", color="grey")
    second.set_ylim(bottom=0)
    axes.set_ylim(bottom=0)
