"""The page's request as a program: a person copies it, and it gets the answer of the page."""

import shlex
import subprocess
import sys
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import visiting
from tests.serving import Running
from tests.waiting import HANG


@pytest.mark.parametrize("language", ["curl", "python"])
def test_the_copied_program_runs_and_gets_the_answer_of_the_page(
    browser: Browser, service: Running, language: str
) -> None:
    with visiting(browser, service.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.locator("#slider").press("End")
        expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
        page.get_by_role("button", name=f"Copy as {language}", exact=False).click()
        expect(page.locator("#copied")).to_have_text("Copied")
        program = page.evaluate("() => navigator.clipboard.readText()")
        assert program == page.locator(f"#{language}").text_content()
        shown = page.locator("#digit").inner_text(), page.locator("#nfe").inner_text()
    if language == "curl":
        curl, url, _, header, _, body = shlex.split(program.replace("\\\n", " "))
        name, _, value = header.partition(": ")
        prediction: Any = httpx.post(url, content=body, headers={name: value}, timeout=HANG).json()["predictions"][0]
        assert (curl, url) == ("curl", f"{service.url}/predict?model=odenet-mnist&tolerance=0.000001")
        assert (str(prediction["digit"]), str(prediction["solver"]["nfe"])) == shown
    else:
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=HANG)
        assert f"'digit': {shown[0]}" in ran.stdout
        assert f"'nfe': {shown[1]}" in ran.stdout
