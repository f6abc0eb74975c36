"""Which requests the page sends, and which answers it shows, when changes come faster than answers."""

from playwright.sync_api import Page, expect

from tests.browsing import ANY_DIGIT, Held

PREDICT = "**/predict?*"

MOVED = """() => {
    const slider = document.getElementById("slider");
    for (let place = -1; place <= 6; place += 0.25) {
        slider.value = place;
        slider.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
}"""
"""Drag the slider from end to end within one iteration of the event loop."""

SHOWN = """() => {
    const truth = document.getElementById("truth");
    window.shown = [];
    new MutationObserver(() => window.shown.push(truth.textContent)).observe(truth, { childList: true });
}"""
"""Record each label that is shown next to an answer."""


def test_a_burst_of_changes_sends_only_the_last_one(page: Page) -> None:
    requested = list[str]()
    page.on("request", lambda request: requested.append(request.url))
    page.evaluate(MOVED)
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    assert ["tolerance=0.000001" in url for url in requested if "/predict" in url] == [True]


def test_a_sent_request_is_answered_before_the_newest_waiting_change_is_sent(page: Page) -> None:
    """So the page shows answers over a slow connection while the slider moves, and not only after it stops."""
    held, slider = Held(page, PREDICT), page.locator("#slider")
    slider.press("Home")
    held.wait_until(1)
    page.evaluate(MOVED)
    slider.press("ArrowLeft")
    held.release(0)
    expect(page.locator("#by")).to_have_text("heun2 at 10")
    held.wait_until(2)
    held.release(1)
    expect(page.locator("#by")).to_have_text("dopri5 at 1.8 \N{MULTIPLICATION SIGN} 10⁻⁶")
    assert held.count == 2


def test_the_answer_to_a_replaced_picture_is_dropped(page: Page) -> None:
    page.evaluate(SHOWN)
    held, truth = Held(page, PREDICT), page.locator("#truth")
    page.get_by_role("radio", name="Digit 3", exact=True).check()
    held.wait_until(1)
    page.get_by_role("radio", name="Digit 4", exact=True).check()
    held.wait_until(2)
    held.release(1)
    expect(truth).to_have_text("right: labelled 4")
    held.release(0)
    page.get_by_role("radio", name="Digit 5", exact=True).check()
    held.wait_until(3)
    held.release(2)
    expect(truth).to_have_text("right: labelled 5")
    assert page.evaluate("() => window.shown") == ["right: labelled 4", "right: labelled 5"]


def test_a_stroke_gets_answers_while_it_grows(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    box = page.locator("#ink").bounding_box()
    assert box is not None
    held = Held(page, PREDICT)
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    held.wait_until(1)
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=5)
    held.release(0)
    expect(page.locator("#digit")).to_have_text(ANY_DIGIT)
    page.mouse.up()
    held.wait_until(2)
    held.release(1)
