"""Pages in a real browser: how to start it, and the service's page. A test fails if the page reports an error."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from benchmarks.browser import FLAGS, MISSING, find
from tests.waiting import PAGE

PATIENCE = 1000 * PAGE
"""Milliseconds after which a test gives up."""

GLANCE = 20
"""Milliseconds between two checks of a state that has no event to wait for."""

MACHINE = "ERR_NETWORK_CHANGED"
"""The error with which Chromium ends its connections if a network interface of the machine appears or disappears."""

TRIES = 5
ANY_DIGIT = re.compile(r"^\d$")

Strokes = list[list[tuple[float, float]]]
"""The corners of each line, in fractions of the width and the height of the drawing area."""

expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium. Without it, the tests are skipped, but CI fails."""
    path = find()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


class Visit:
    """A page, and its errors.

    Attributes:
        page: the page.
        troubles: errors and warnings of the console, including violations of the policy, and uncaught exceptions.
        cut: whether the machine has cut a connection since the page was last opened.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.cut = False
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("requestfailed", self._on_failure)

    def open(self, url: str) -> None:
        """Open the service's page, and wait for its first answer, which comes after everything else has loaded."""
        for _ in range(TRIES):
            self.cut = False
            self.page.goto(url)
            while not self.cut and not ANY_DIGIT.match(self.page.locator("#digit").inner_text()):
                self.page.wait_for_timeout(2 * GLANCE)
            if not self.cut:
                break
        expect(self.page.locator("#digit")).to_have_text(ANY_DIGIT)

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and MACHINE not in message.text:
            self.troubles.append(message.text)

    def _on_failure(self, request: Request) -> None:
        self.cut = self.cut or MACHINE in str(request.failure)


class Held:
    """Holds back the requests of a page that match a pattern, until a test releases them."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._held: list[Route] = []
        page.route(pattern, self._hold)

    @property
    def count(self) -> int:
        """How many requests the page has made."""
        return len(self._held)

    def wait_until(self, count: int) -> None:
        """Wait until the page has made this many requests."""
        for _ in range(PATIENCE // GLANCE):
            if self.count >= count:
                return
            self._page.wait_for_timeout(GLANCE)
        raise AssertionError(f"the page made {self.count} of {count} requests")

    def release(self, number: int) -> None:
        """Send a request to the service; the first request is 0."""
        self._held[number].continue_()

    def _hold(self, route: Route) -> None:
        self._held.append(route)


@contextmanager
def visiting(browser: Browser, url: str, expected: str = "nothing", **options: Any) -> Iterator[Page]:
    """Open the page. At the end of the block, check that the page had no errors except the expected ones.

    Args:
        browser: the browser.
        url: the address of the page.
        expected: a pattern that occurs in each expected error.
        options: options of the browser's context.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    try:
        visit = Visit(context.new_page())
        visit.open(url)
        yield visit.page
        troubles = [trouble for trouble in visit.troubles if not re.search(expected, trouble)]
        assert not troubles, f"the page reported {troubles}"
    finally:
        context.close()


def draw(page: Page, strokes: Strokes) -> None:
    """Draw on the page with the mouse."""
    box = page.locator("#ink").bounding_box()
    assert box is not None
    for stroke in strokes:
        (x, y), *others = ((box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in stroke)
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y, steps=12)
        page.mouse.up()
