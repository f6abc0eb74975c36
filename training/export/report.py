"""Prints the reports of an export, and the table of the measured settings."""

from rich.console import Console

from models.profile import ProfilePoint

COLUMNS = {
    "solver": "<16",
    "error": ">8",
    "agreement": ">9",
    "NFE mean": ">8",
    "NFE 99 %": ">8",
    "rejected": ">8",
    "ms per image": ">12",
}
"""The columns of the table, and the alignment and the width of each."""


class ConsoleReport:
    """Prints messages as they are, and measured settings as a table with headings.

    Args:
        console: the console to print on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._in_table = False

    def __call__(self, event: str | ProfilePoint) -> None:
        """Print a message, or a row of the table. The headings precede the first row."""
        if isinstance(event, ProfilePoint) and not self._in_table:
            self._print(line(tuple(COLUMNS)))
        self._in_table = isinstance(event, ProfilePoint)
        self._print(line(cells(event)) if isinstance(event, ProfilePoint) else event)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False)


def line(row: tuple[str, ...]) -> str:
    """A row of the table as a line of text."""
    return "  ".join(f"{cell:{form}}" for cell, form in zip(row, COLUMNS.values(), strict=True))


def cells(point: ProfilePoint) -> tuple[str, ...]:
    """The cells of a measured setting, in the order of `COLUMNS`."""
    return (
        str(point.solver),
        f"{point.error:.2%}",
        f"{point.agreement:.2%}",
        f"{point.nfe.mean:.1f}",
        str(point.nfe.p99),
        f"{point.rejected:.2f}",
        f"{point.milliseconds_per_row:.3f}",
    )
