"""The folder and the style of the figures."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.export.figure import save as save_figure

FOLDER = Path(__file__).parents[1] / "docs" / "figures"


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Set a panel's title and axis labels, and draw a faint grid."""
    axes.set_title(title, fontsize=10)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, and create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
