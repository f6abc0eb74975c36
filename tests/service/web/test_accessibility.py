"""The page is accessible: by the rules of axe, by keyboard, at every width, in both colour schemes, without motion."""

import io
import re
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browsing import visiting
from tests.serving import Running

NEARLY_CERTAIN = re.compile(r"^0 . (> )?99\.99%$")  # one of the longest labels
WIDTHS = {"small phone": 320, "phone": 360, "tablet": 768, "desktop": 1280, "wide": 2200}
CHARTS = ("steps", "logits", "tradeoff")

OUTSIDE = """(id) => {
    const within = document.querySelector(`#${id}-chart svg`).getBoundingClientRect();
    const places = [...document.querySelectorAll(`#${id}-chart text`)].map((text) => text.getBoundingClientRect());
    const sideways = ({ left, right }) => left < within.left - 1 || right > within.right + 1;
    const upwards = ({ top, bottom }) => top < within.top - 2 || bottom > within.bottom + 2;
    return places.filter((place) => sideways(place) || upwards(place)).length;
}"""
"""The number of labels that extend beyond the edge of a chart."""

OVERLAPPING = """(id) => {
    const texts = [...document.querySelectorAll(`#${id}-chart text`)];
    const places = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
    const meet = (one, other) =>
        one.left < other.right && one.right > other.left && one.top + 4 < other.bottom && one.bottom - 4 > other.top;
    return places.flatMap(([words, place], index) =>
        places.slice(index + 1).filter(([, other]) => meet(place, other)).map(([other]) => `${words} | ${other}`)
    );
}"""
"""The pairs of labels of a chart that overlap by more than the space between two lines."""

in_light_and_dark = pytest.mark.parametrize("scheme", ["light", "dark"])
at_every_width = pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())


def middle_row(page: Page, selector: str) -> list[tuple[int, ...]]:
    """The colours of an element on the screen, from left to right at half its height."""
    shown = np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"))
    return [tuple(colour) for colour in shown[len(shown) // 2].tolist()]


@in_light_and_dark
@pytest.mark.parametrize("width", [WIDTHS["phone"], WIDTHS["desktop"]], ids=["phone", "desktop"])
def test_axe_finds_no_violation(browser: Browser, service: Running, scheme: Any, width: int) -> None:
    """We bypass the content security policy only here, because axe runs in the page by eval."""
    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
    with visiting(browser, service.url, expected="400", **options) as page:
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("#compare-note")).to_contain_text("answers differ")
        page.get_by_text("The load of the service, live").click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert len(found.response["passes"]) > 20
        page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"none"})
        expect(page.locator("#notice")).to_be_visible()
        page.evaluate("() => { document.getElementById('offline').hidden = false; }")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def focused(page: Page) -> str:
    """The element with the focus: its id, or else its name or its text."""
    name = page.evaluate(
        """() => {
            const at = document.activeElement;
            return at.id || at.name || at.dataset.copy || at.textContent.trim();
        }"""
    )
    assert isinstance(name, str)
    return name


def test_the_tab_key_reaches_all_controls_in_the_order_of_the_page(page: Page) -> None:
    names = list[str]()
    page.locator("body").focus()
    for _ in range(45):
        page.keyboard.press("Tab")
        names.append(focused(page))
    expected = [
        "Skip to the controls",
        "model",
        "API",
        "undo",
        "clear",
        "file",
        "sample",
        "mode",
        "method",
        "slider",
        "depth-time",
        "play",
        "compare",
        "The load of the service, live",
        "curl",
        "python",
    ]
    assert [name for name in dict.fromkeys(names) if name in expected] == expected


def test_the_focus_is_visible(page: Page) -> None:
    for key in range(8):
        page.keyboard.press("Tab")
        shown = page.evaluate(
            """() => {
                const at = document.activeElement;
                const seen = at.classList.contains("sr") || at.type === "radio" ? at.nextElementSibling : at;
                return getComputedStyle(seen).outlineStyle;
            }"""
        )
        assert shown == "solid", f"{focused(page)}, after {key + 1}"


@at_every_width
def test_no_content_is_wider_than_the_window(browser: Browser, service: Running, width: int) -> None:
    with visiting(browser, service.url, viewport={"width": width, "height": 760}) as page:
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("#compare-note")).to_contain_text("answers differ")
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        assert [page.evaluate(OUTSIDE, chart) for chart in CHARTS] == [0, 0, 0]
        page.get_by_role("radio", name="Digit 0", exact=True).check()
        page.locator("#slider").press("End")
        expect(page.locator("#logits-chart .first text")).to_have_text(NEARLY_CERTAIN)
        assert [page.evaluate(OUTSIDE, chart) for chart in CHARTS] == [0, 0, 0]


def test_no_labels_of_a_chart_overlap_on_a_phone(browser: Browser, service: Running) -> None:
    """The first digit is solved twice, so the chart of the logits has the most labels."""
    begin = f"{service.url}/#agreement=0.999"
    with visiting(browser, begin, viewport={"width": WIDTHS["phone"], "height": 740}) as page:
        expect(page.locator("#logits-chart")).to_contain_text("dashed: the loose solve")
        assert [page.evaluate(OVERLAPPING, chart) for chart in CHARTS] == [[], [], []]


def test_on_a_phone_held_sideways_the_drawing_area_and_the_slider_are_in_view(
    browser: Browser, service: Running
) -> None:
    with visiting(browser, service.url, viewport={"width": 740, "height": 360}, has_touch=True, is_mobile=True) as page:
        for part in ("#ink", "#undo", "#slider", "#brief"):
            expect(page.locator(part)).to_be_in_viewport(ratio=1)


def test_forced_colours_leave_the_chosen_mode_the_slider_and_the_bars_visible(
    browser: Browser, service: Running
) -> None:
    with visiting(browser, service.url, forced_colors="active") as page:
        chosen, other = (
            middle_row(page, f".segments label:has(input{which})") for which in (":checked", "[value=steps]")
        )
        assert chosen[4] != other[4]
        for part in ("#slider", ".bars .first .track"):
            row = middle_row(page, part)
            assert row[4] != row[-4], f"the two ends of {part} look the same"


def test_on_a_phone_the_slider_is_always_in_view(browser: Browser, service: Running) -> None:
    with visiting(browser, service.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
        page.get_by_role("radio", name="Agreement").check()
        expect(page.locator("#by")).to_contain_text("after a doubtful loose solve")
        for part in ("#ink", "#undo", "#slider", "#brief"):
            expect(page.locator(part)).to_be_in_viewport(ratio=1)
        undo, controls = (page.locator(part).bounding_box() for part in ("#undo", "#precision"))
        assert undo is not None
        assert controls is not None
        assert undo["y"] + undo["height"] < controls["y"], "the controls hide the buttons"
        page.locator("#logits-chart").scroll_into_view_if_needed()
        expect(page.locator("#slider")).to_be_in_viewport(ratio=1)


@in_light_and_dark
def test_the_colours_follow_the_preferred_scheme(browser: Browser, service: Running, scheme: Any) -> None:
    with visiting(browser, service.url, color_scheme=scheme) as page:
        paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (sum(paper) > 3 * 128) == (scheme == "light")


def test_with_reduced_motion_preferred_there_are_no_transitions(browser: Browser, service: Running) -> None:
    with visiting(browser, service.url, reduced_motion="reduce") as page:
        moving = page.evaluate("() => getComputedStyle(document.querySelector('.track i')).transitionDuration")
        assert moving == "0s"
