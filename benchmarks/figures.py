"""Where the figures are kept, and how: the same points give the same file."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "docs" / "figures"


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title a panel and name its axes, over a faint grid."""
    axes.set_title(title, fontsize=10)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "odenet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
