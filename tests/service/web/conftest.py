import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.browser import FLAGS, MISSING, find
from tests.browsing import visiting
from tests.serving import Running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Each module starts its own, because an event loop runs in the test process as long as Chromium does."""
    path = find()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    """The page in the window of a desktop. A test fails if anything goes wrong in the page."""
    with visiting(browser, service.url, viewport={"width": 1280, "height": 900}) as page:
        yield page
