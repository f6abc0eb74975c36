"""Every block of the README and of docs/ runs, in the order of its page, as a reader would run it."""

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
"""The compared columns of the command's table."""

RUNNABLE = [page for page in PAGES if any(block.language in RUN and block.excuse is None for block in blocks(page))]

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "git", "make"))), reason="a reader has bash, curl, git and make"
)


def test_the_parser_finds_every_block() -> None:
    languages = [block.language for page in PAGES for block in blocks(page)]
    assert {"sh", "python", "json", "diff"} <= set(languages)
    assert HEADING in [line for page in PAGES for block in blocks(page) for line in cells(block.text)]
    fences = sum(line.startswith("```") for page in PAGES for line in page.read_text().splitlines())
    assert fences == 2 * len(languages), "a fence has a form that the parser does not find"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_has_a_known_language_and_only_a_runnable_block_has_an_excuse(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, block.text
        assert block.excuse is None or block.language in RUN, block.text
    assert page.read_text().count("<!-- not run") == sum(block.excuse is not None for block in blocks(page))


@needs_tools
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=name(page), marks=pytest.mark.xdist_group(name(page))) for page in RUNNABLE]
)
def test_the_blocks_of_a_page_run_and_give_the_shown_answers(page: Path, tmp_path: Path) -> None:
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
