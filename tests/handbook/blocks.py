"""The fenced blocks of the README and of docs/.

The tests run a block of ``sh``, ``python`` or ``diff``, unless the line before it is ``<!-- not run: reason -->``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<excuse>[^\n]+) -->\n)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
RUN = {"sh", "python", "diff"}
SHOWN = {"json", "text", "toml", "nginx", "javascript"}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: the language that the fence names.
        text: the content.
        excuse: the reason why the block is not run; None for a block that is run.
    """

    language: str
    text: str
    excuse: str | None


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(block["language"], block["text"], block["excuse"]) for block in found]


def name(page: Path) -> str:
    """The path of a page, which test ids contain."""
    return str(page.relative_to(ROOT))


def commands(text: str) -> list[str]:
    """The commands of a block of ``sh``, without comments. Continued lines are joined."""
    lines = text.replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in lines)
    return [line for line in stripped if line]
