"""The site, opened from a disk in a real browser, as wide as a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import PATIENCE, chromium

pytestmark = pytest.mark.xdist_group("test_site.py")  # its tests build the site too

WIDE = ("index", "explanation/mathematics", "reference/http-predict", "reference/settings", "measurements")
"""Pages with pictures, formulas, wide tables and long code."""


@pytest.fixture(scope="module")
def reader(site: Path) -> Iterator[Page]:
    """A page of a browser without a network. A test fails if a page of the site has an error."""
    troubles = list[str]()
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 360, "height": 740}, offline=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        yield page
        assert troubles == []


def test_no_page_is_wider_than_a_phone(reader: Page, site: Path) -> None:
    for name in WIDE:
        reader.goto((site / f"{name}.html").as_uri())
        assert reader.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0, name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("reference/http-predict", "Relative tolerance"),
        ("reference/artifact", "how the network scales pixels"),
        ("explanation/decisions", "a loose request does not wait for a tight one"),
    ],
)
def test_the_text_of_a_table_takes_more_than_half_of_a_phone(reader: Page, site: Path, name: str, text: str) -> None:
    reader.goto((site / f"{name}.html").as_uri())
    cell = reader.locator("td").filter(has_text=text).first.bounding_box()
    assert cell is not None
    assert cell["width"] > 180
    assert cell["x"] + cell["width"] <= 360, "the text is cut off"


def test_the_search_finds_a_page(reader: Page, site: Path) -> None:
    reader.goto((site / "index.html").as_uri())
    reader.locator("label[for=__search]").first.click()
    reader.locator(".md-search__input").press_sequentially("brown-out")
    found = reader.locator(".md-search-result__link").filter(has_text="Glossary")
    expect(found.first).to_be_visible()


def test_a_link_to_a_schema_opens_it(reader: Page, site: Path) -> None:
    reader.goto((site / "reference" / "http-predict.html").as_uri())
    schema = reader.locator("details#predictbody")
    expect(schema).not_to_have_attribute("open", "")
    reader.locator("a[href='#predictbody']").first.click()
    expect(schema).to_have_attribute("open", "")
