"""The report of a part: facts, tables and claims. It is saved after each change, so a part that fails loses nothing."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

Cell = str | int | float | bool | None
"""The value of a fact or of a cell; None if it cannot be measured here."""


@dataclass(frozen=True)
class Claim:
    """A claim, and what was measured.

    Attributes:
        text: the claim.
        goal: the least or greatest value that fulfils the claim, as text.
        reached: the measured value, as text.
        holds: whether the claim holds.
    """

    text: str
    goal: str
    reached: str
    holds: bool


@dataclass
class Report:
    """What a part has found.

    Attributes:
        part: the name of the part.
        path: the file that the report is saved in, as JSON; None to keep it in memory.
        facts: values by name.
        tables: rows by the title of their table. Each row has its cells by heading.
        claims: the claims.
        seconds: how long the part took.
        error: why the part did not end; empty if it did.
    """

    part: str
    path: Path | None = None
    facts: dict[str, Cell] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Cell]]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a report that was saved.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not a report.
        """
        content: dict[str, Any] = json.loads(path.read_text())
        return cls(**content | {"path": path, "claims": [Claim(**claim) for claim in content["claims"]]})

    def fact(self, name: str, value: Cell) -> None:
        """Report a single value."""
        self.facts[name] = value
        self.save()

    def row(self, table: str, **cells: Cell) -> None:
        """Report a row of a table. The keywords are the headings, with underscores in place of spaces."""
        self.tables.setdefault(table, []).append({name.replace("_", " "): value for name, value in cells.items()})
        self.save()

    def claim(self, text: str, goal: str, reached: str, *, holds: bool) -> None:
        """Report whether a claim holds."""
        self.claims.append(Claim(text, goal, reached, bool(holds)))
        self.save()

    def save(self) -> None:
        """Write the report to its file, if it has one."""
        if self.path is not None:
            unfinished = self.path.with_suffix(".unfinished")  # this process may be killed while it writes
            unfinished.write_text(json.dumps(self.content(), default=str) + "\n")
            unfinished.replace(self.path)

    def content(self) -> dict[str, Any]:
        """The report as JSON objects."""
        content = asdict(self)
        del content["path"]
        return content

    def markdown(self) -> str:
        """The report as Markdown."""
        blocks = [f"## {self.part} ({self.seconds:.0f} s)"]
        if self.error:
            blocks.append(f"**This part did not end.**\n\n```\n{self.error.strip()}\n```")
        blocks.append("\n".join(f"- {name}: {_text(value)}" for name, value in self.facts.items()))
        blocks += [f"{title}:\n\n{_table(rows)}" for title, rows in self.tables.items()]
        if self.claims:
            rows: list[dict[str, Cell]] = [
                {"claim": claim.text, "goal": claim.goal, "reached": claim.reached, "holds": claim.holds}
                for claim in self.claims
            ]
            blocks.append(_table(rows))
        return "\n\n".join(filter(None, blocks))


def _table(rows: list[dict[str, Cell]]) -> str:
    headings = list(dict.fromkeys(name for row in rows for name in row))
    lines = [headings, ["---"] * len(headings), *([_text(row.get(name)) for name in headings] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: Cell) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        case _:
            return value


def write(folder: Path, reports: Iterable[Report]) -> None:
    """Write the reports of all parts to a folder, as JSON and as text."""
    reports = list(reports)
    contents = [report.content() for report in reports]
    (folder / "gpu.json").write_text(json.dumps(contents, indent=1, default=str) + "\n")
    (folder / "gpu.md").write_text("\n\n".join(report.markdown() for report in reports) + "\n")
