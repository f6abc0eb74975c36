"""The page reports problems, and continues by itself when they are over."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.serving.servers import free_port
from service.environment import KEY
from service.security.keys import Scope, make_key
from tests.browsing import visiting
from tests.digits import encoded, load_test_set
from tests.pictures import png_of
from tests.serving import TWO_MODELS, Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

PIXELS = {"content-type": "application/octet-stream"}
LONG = {"method": "heun2", "tolerance": "1e-6"}
GONE = r"net::ERR_|\b503\b"
"""The errors that a page reports while the service is stopping or away."""

TRIES = 100


@contextmanager
def busy(url: str, callers: int, images: int, priority: str) -> Iterator[None]:
    """Keep the service busy: callers request long solves again and again."""
    content, over = load_test_set()[0][:images].tobytes(), Event()
    params = {**LONG, "priority": priority}

    def call() -> None:
        with httpx.Client(base_url=url, timeout=HANG) as client:
            while not over.is_set():
                answer = client.post("/predict", params=params, content=content, headers=PIXELS)
                assert answer.status_code in {200, 429}

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call) for _ in range(callers)]
        try:
            yield
        finally:
            over.set()
    for each in calls:
        each.result()


def give(page: Page, content: bytes) -> None:
    """Choose a file with the name and the media type of a PNG."""
    page.locator("#file").set_input_files({"name": "picture.png", "mimeType": "image/png", "buffer": content})


def move_until(page: Page, status: int) -> None:
    """Move the slider between its first two positions until the service answers with a status."""
    for number in range(TRIES):
        with page.expect_response(re.compile("/predict")) as answer:
            page.locator("#slider").press("Home" if number % 2 == 0 else "ArrowRight")
        if answer.value.status == status:
            return
    raise AssertionError(f"none of {TRIES} answers had the status {status}")


def test_a_file_that_is_not_a_picture_is_reported(browser: Browser, service: Running) -> None:
    with visiting(browser, service.url, expected="400") as page:
        give(page, b"a letter, not a digit")
        expect(page.locator("#notice")).to_contain_text("That picture cannot be read")
        expect(page.locator("#notice")).to_contain_text("neither a PNG nor a JPEG")
        expect(page.locator("#digit")).to_have_text("\N{EN DASH}")
        page.get_by_role("radio", name="Digit 2", exact=True).check()
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#digit")).to_have_text("2")


def test_a_picture_that_is_too_large_is_reported(browser: Browser, service: Running) -> None:
    """The page cannot scale this picture down, because the browser cannot decode it."""
    with visiting(browser, service.url, expected="413") as page:
        give(page, png_of(2000, 2000))
        expect(page.locator("#notice")).to_contain_text("That picture is too large")
        expect(page.locator("#notice")).to_contain_text("at most 1,000,000")


def test_a_blank_picture_is_reported(browser: Browser, service: Running) -> None:
    with visiting(browser, service.url, expected="422") as page:
        give(page, encoded(np.full((200, 200), 230, np.uint8)))
        expect(page.locator("#notice")).to_have_text(
            "That picture cannot be read: the picture shows no ink: nothing on it stands out clearly from its paper; "
            "its levels go from 230 to 230, of 0 to 255. Try another picture, or draw the digit."
        )
        expect(page.locator("#digit")).to_have_text("\N{EN DASH}")


def test_a_field_out_of_range_is_reported(browser: Browser, service: Running) -> None:
    """The controls of the page keep within the limits, so we call the modules of the page."""
    with visiting(browser, service.url, expected="422") as page:
        message = page.evaluate(
            """async () => {
                const base = document.querySelector("script").src.replace("app.js", "");
                const [api, messages] = await Promise.all([import(base + "api.js"), import(base + "messages.js")]);
                const picture = { body: new Blob([new Uint8Array(784)]), label: null };
                return api.predict(picture, { tolerance: 1000 }).catch(messages.kindly);
            }"""
        )
    assert message == "The service refuses this setting: tolerance: Input should be less than or equal to 10."


def test_a_browser_with_a_key_is_answered(browser: Browser, tmp_path: Path) -> None:
    """The browser prompts its user for a key, and sends the key with all requests of the page."""
    secret, entry = make_key("page", frozenset({Scope.predict}))
    path = tmp_path / "keys.toml"
    path.write_text(entry)
    with running("--api-key-file", str(path), models=TWO_MODELS) as service:
        assert httpx.get(service.url, timeout=HANG).status_code == 401
        credentials = {"username": "anybody", "password": secret}
        with visiting(browser, service.url, expected="401", http_credentials=credentials) as page:
            page.get_by_role("radio", name="Digit 3", exact=True).check()
            expect(page.locator("#digit")).to_have_text("3")
            expect(page.locator("#curl")).to_contain_text(f'-H "Authorization: Bearer ${KEY}"')
            program = page.locator("#python").text_content() or ""
        environment = {**os.environ, KEY: secret}
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=HANG
        )
        assert "'digit': 3" in ran.stdout


def test_the_page_asks_a_busy_service_again(browser: Browser) -> None:
    with (
        running("--queue-seconds", "0.001", models=TWO_MODELS) as service,
        visiting(browser, service.url, expected="429") as page,
    ):
        with busy(service.url, callers=3, images=8, priority="high"):
            page.get_by_role("radio", name="Digit 6", exact=True).check()
            move_until(page, status=429)
            expect(page.locator("#notice")).to_have_text(
                re.compile(r"The service is busy\. The page asks again in \d+ s\.")
            )
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#digit")).to_have_text("6")


def test_a_passed_deadline_is_reported(browser: Browser, service: Running) -> None:
    with (
        visiting(browser, service.url, expected="504") as page,
        busy(service.url, callers=3, images=2, priority="high"),
    ):
        page.get_by_role("radio", name="Deadline").check()
        move_until(page, status=504)
        message = "There was no answer within the deadline. Choose a longer deadline."
        expect(page.locator("#notice")).to_have_text(message)
        expect(page.locator("#answer")).to_have_class(re.compile("stale"))


def test_the_page_continues_when_the_service_comes_back(browser: Browser) -> None:
    with ExitStack() as first, ExitStack() as then:
        port = str(free_port())
        service = first.enter_context(running("--port", port, models=TWO_MODELS))
        page = then.enter_context(visiting(browser, service.url, expected=GONE))
        expect(page.locator("#offline")).to_be_hidden()
        place = page.locator("#ink").bounding_box()
        first.close()
        page.get_by_role("radio", name="Digit 8", exact=True).check()
        expect(page.locator("#offline")).to_be_visible()
        assert page.locator("#ink").bounding_box() == place, "the banner moves the drawing area from under the pen"
        first.enter_context(running("--port", port, models=TWO_MODELS))
        expect(page.locator("#offline")).to_be_hidden()
        expect(page.locator("#digit")).to_have_text("8")


def test_a_model_chosen_while_the_service_is_away_is_loaded_when_it_is_back(browser: Browser) -> None:
    with ExitStack() as first, ExitStack() as then:
        port = str(free_port())
        service = first.enter_context(running("--port", port, models=("odenet-mnist", "rknet")))
        page = then.enter_context(visiting(browser, service.url, expected=GONE))
        first.close()
        page.get_by_label("Model").select_option("rknet")
        expect(page.locator("#offline")).to_be_visible()
        expect(page.locator("#answer")).to_have_class(re.compile("stale"))
        first.enter_context(running("--port", port, models=("odenet-mnist", "rknet")))
        expect(page.locator("#curl")).to_contain_text("model=rknet")
        expect(page.locator("#tradeoff-lead")).to_contain_text("as measured for rknet")
        expect(page.locator("#tradeoff-chart svg")).to_have_attribute("aria-label", re.compile("^By "))


def test_a_failed_comparison_is_reported_and_repeated(browser: Browser) -> None:
    with ExitStack() as first, ExitStack() as then:
        port = str(free_port())
        service = first.enter_context(running("--port", port, models=TWO_MODELS))
        page = then.enter_context(visiting(browser, service.url, expected=GONE))
        first.close()
        page.get_by_role("button", name="Compare").click()
        note, table = page.locator("#compare-note"), page.locator("#compare-table")
        expect(note).to_have_text("The service does not answer. The page continues as soon as it does.")
        expect(table).to_be_hidden()
        first.enter_context(running("--port", port, models=TWO_MODELS))
        expect(note).to_have_text(re.compile(r"of \d answers differ"))
        expect(table).to_be_visible()


def test_an_answer_of_another_server_is_reported(browser: Browser, service: Running) -> None:
    """For example, a proxy may ask its users to sign in first."""
    with visiting(browser, service.url) as page:
        page.route("**/predict?*", lambda route: route.fulfill(content_type="text/html", body="<p>Sign in</p>"))
        page.locator("#slider").press("End")
        expect(page.locator("#notice")).to_have_text("The service failed to answer: its answer is not JSON")


def test_a_service_without_a_model_to_show_is_reported(browser: Browser, service: Running) -> None:
    with visiting(browser, service.url) as page:
        page.route("**/models", lambda route: route.fulfill(json=[{"name": "mlp", "methods": [], "default": True}]))
        page.reload()
        expect(page.locator("#notice")).to_contain_text("No model that is served solves an equation")


def test_the_page_notices_without_a_request_that_the_service_is_gone(browser: Browser) -> None:
    with ExitStack() as first, ExitStack() as then:
        port = str(free_port())
        service = first.enter_context(running("--port", port, models=TWO_MODELS))
        page = then.enter_context(visiting(browser, service.url, expected=GONE))
        first.close()
        expect(page.locator("#offline")).to_be_visible()
