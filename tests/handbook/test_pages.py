"""Every block of the README and of docs/ is run as a reader would, from the first to the last of its page."""

import json
import shutil
from pathlib import Path

import pytest

from service.cli.output import COLUMNS
from tests.handbook.answers import cells, documents, form
from tests.handbook.blocks import PAGES, RUN, SHOWN, blocks, name
from tests.handbook.reader import Reader
from tests.handbook.scratch import scratch

pytestmark = pytest.mark.system

HEADING = list(COLUMNS)[:-1]
"""Of the command's table, as far as it is compared."""

RUNNABLE = [page for page in PAGES if any(block.language in RUN and block.excuse is None for block in blocks(page))]

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "git", "make"))), reason="a reader has bash, curl, git and make"
)


def test_blocks_are_found() -> None:
    languages = [block.language for page in PAGES for block in blocks(page)]
    assert {"sh", "python", "json", "diff"} <= set(languages)
    assert HEADING in [line for page in PAGES for block in blocks(page) for line in cells(block.text)]
    fences = sum(line.startswith("```") for page in PAGES for line in page.read_text().splitlines())
    assert fences == 2 * len(languages), "none has another form than those that are found"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_says_what_it_is_and_an_excuse_is_for_one_that_would_be_run(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, block.text
        assert block.excuse is None or block.language in RUN, block.text
    assert page.read_text().count("<!-- not run") == sum(block.excuse is not None for block in blocks(page))


@needs_tools
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=name(page), marks=pytest.mark.xdist_group(name(page))) for page in RUNNABLE]
)
def test_what_a_page_says_can_be_done(page: Path, tmp_path: Path) -> None:
    with Reader(scratch(tmp_path / "repository")) as reader:
        output = ""
        for block in blocks(page):
            if block.language == "json":
                forms = [form(document) for document in documents(output)]
                assert form(json.loads(block.text)) in forms, f"{block.text}\nis not among\n{forms}"
            elif block.language == "text" and HEADING in (shown := cells(block.text)):
                assert [line for line in shown if line not in cells(output)] == [], output
            elif block.language in RUN and block.excuse is None:
                output = reader.run(block)
