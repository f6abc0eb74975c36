"""What is asked, and which answer is shown, where questions follow each other faster than the service answers."""

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
"""The slider, dragged from end to end between two turns of the event loop."""

SHOWN = """() => {
    const truth = document.getElementById("truth");
    window.shown = [];
    new MutationObserver(() => window.shown.push(truth.textContent)).observe(truth, { childList: true });
}"""
"""Note each label that an answer is shown beside."""


def test_of_a_burst_of_changes_the_last_alone_is_asked(page: Page) -> None:
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(MOVED)
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    assert ["tolerance=0.000001" in url for url in asked if "/predict" in url] == [True]


def test_what_is_asked_is_answered_before_the_newest_that_waits(page: Page) -> None:
    """Over a slow connection the answers come as fast as it lets them, and not once the slider rests."""
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


def test_the_answer_to_a_picture_that_is_gone_is_dropped(page: Page) -> None:
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


def test_of_a_stroke_that_grows_each_moment_is_answered(page: Page) -> None:
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
