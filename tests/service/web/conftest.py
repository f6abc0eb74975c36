from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import chromium, visiting
from tests.serving import Running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Each module starts its own, because an event loop runs in the test process as long as Chromium does."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    """The page in the window of a desktop. A test fails if anything goes wrong in the page."""
    with visiting(browser, service.url, viewport={"width": 1280, "height": 900}) as page:
        yield page
