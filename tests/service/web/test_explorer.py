"""What explains the solve on the page: links that set the page, the tour, a moment of the solve, and the live load."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.browsing import draw, visiting
from tests.serving import Running

TOUR = {
    "Layers are Euler steps": "euler, 6 steps",
    "The solver chooses its own steps": "dopri5 at 10⁻⁵",
    "What a tolerance buys": "heun2 at 1",
    "Evaluations only in doubt": "after a doubtful loose solve",
}
"""Each step of the tour, and how the page's digit is solved there."""


def test_a_link_leads_to_the_same_setting_and_digit(browser: Browser, service: Running) -> None:
    begin = f"{service.url}/#model=rknet&method=dopri5&tolerance=0.001&digit=3"
    with visiting(browser, begin) as page:
        expect(page.locator("#by")).to_have_text("dopri5 at 10⁻³")
        expect(page.locator("#truth")).to_have_text("right: labelled 3")
        expect(page.get_by_label("Model")).to_have_value("rknet")
        page.get_by_role("button", name="Clear").click()
        draw(page, [[(0.28, 0.22), (0.72, 0.22), (0.45, 0.82)]])
        expect(page.locator("#digit")).to_have_text("7")
        page.locator("#slider").press("ArrowLeft")
        page.wait_for_url(re.compile("tolerance=0.0018&image="))
        link, seen = page.url, page.locator("#seen").evaluate("(canvas) => canvas.toDataURL()")
    with visiting(browser, link) as page:
        expect(page.locator("#digit")).to_have_text("7")
        assert page.locator("#seen").evaluate("(canvas) => canvas.toDataURL()") == seen


def test_each_step_of_the_tour_sets_the_page(page: Page) -> None:
    for name, solved_by in TOUR.items():
        page.get_by_role("link", name=name).click()
        expect(page.locator("#by")).to_contain_text(solved_by)
    for name, truth in {"What a tolerance buys": "wrong: labelled 9", "Tighten it": "right: labelled 9"}.items():
        page.get_by_role("link", name=name).click()
        expect(page.locator("#truth")).to_have_text(truth)
    page.get_by_role("link", name="a clear three").click()
    expect(page.locator("#truth")).to_have_text("right: labelled 3")
    expect(page.locator("#nfe")).to_have_text("2")


def test_a_moment_of_the_solve_shows_the_logits_and_the_channels_there(page: Page) -> None:
    slider, moment = page.locator("#depth-time"), page.locator("#moment")
    expect(moment).to_have_text(re.compile(r"^At t = 1\.00, 0 leads 9 by "))
    expect(page.locator("#channels")).to_have_attribute(
        "aria-label", re.compile(r"^96 channels .* [1-9]\d* have grown")
    )
    slider.press("Home")
    expect(moment).to_have_text(re.compile(r"^At t = 0\.00, "))
    expect(moment).not_to_contain_text("0 leads 9")
    page.get_by_role("button", name="Play").click()
    expect(slider).to_have_value("1")
    page.get_by_role("button", name="Clear").click()
    expect(slider).to_be_disabled()


def test_the_load_is_shown_while_it_lasts(page: Page) -> None:
    page.get_by_text("The load of the service, live").click()
    page.get_by_role("button", name="Add load").click()
    expect(page.locator("#load-batch")).to_have_text(re.compile(r"^([2-9]|\d\d)\.\d$"))
    expect(page.locator("#load-speed")).to_have_text(re.compile(r"^[1-9]\d*$"))
    page.get_by_role("button", name="Stop the load").click()
    expect(page.locator("#load-waiting")).to_have_text("0")
