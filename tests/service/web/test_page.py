"""People use the page, in a real browser and with a real service."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.sprite import STATIC
from tests.browsing import ANY_DIGIT, Held, Strokes, draw, visiting
from tests.digits import encoded, load_test_set, seven
from tests.serving import Running

NOTHING = "\N{EN DASH}"
Touch = Callable[..., None]
ONE: Strokes = [[(0.5, 0.15), (0.5, 0.85)]]
SEVEN: Strokes = [[(0.28, 0.22), (0.72, 0.22), (0.45, 0.82)]]
W: Strokes = [[(0.1, 0.2), (0.3, 0.8), (0.5, 0.3), (0.7, 0.8), (0.9, 0.2)]]
FOUR: Strokes = [[(0.35, 0.18), (0.28, 0.52), (0.72, 0.52)], [(0.64, 0.2), (0.6, 0.85)]]

INKED_COLUMNS = """() => {
    const { width, height } = document.getElementById("ink");
    const { data } = document.getElementById("ink").getContext("2d").getImageData(0, 0, width, height);
    const columns = Array.from({ length: width }, (_, x) => x);
    return columns.filter((x) => columns.some((y) => data[4 * (y * width + x) + 3]));
}"""
"""The columns of the drawing area that have ink."""


def nfe(page: Page) -> int:
    return int(page.locator("#nfe").inner_text())


def give(page: Page, content: bytes, name: str = "picture.png", media_type: str = "image/png") -> None:
    """Choose a file."""
    page.locator("#file").set_input_files({"name": name, "mimeType": media_type, "buffer": content})


def drop(page: Page, content: bytes, event: str = "drop") -> None:
    """Drop or paste a PNG."""
    page.evaluate(
        """([bytes, event]) => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(bytes)], "picture.png", { type: "image/png" }));
            const how = { dataTransfer: given, clipboardData: given, bubbles: true, cancelable: true };
            const Kind = event === "drop" ? DragEvent : ClipboardEvent;
            document.getElementById("ink").dispatchEvent(new Kind(event, how));
        }""",
        [list(content), event],
    )


def set_slider(page: Page, key: str, times: int = 1) -> None:
    """Move the slider by keyboard."""
    page.locator("#slider").focus()
    for _ in range(times):
        page.keyboard.press(key)


# Draw.


@pytest.mark.parametrize(("strokes", "digit"), [(ONE, "1"), (SEVEN, "7"), (FOUR, "4")], ids=["1", "7", "4"])
def test_a_digit_drawn_by_mouse_is_recognised(page: Page, strokes: Strokes, digit: str) -> None:
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#digit")).to_have_text(NOTHING)
    draw(page, strokes)
    expect(page.locator("#digit")).to_have_text(digit)
    expect(page.locator("#truth")).to_have_text("\u00a0")


def test_a_letter_is_reported_as_perhaps_no_digit(page: Page) -> None:
    draw(page, W)
    expect(page.locator("#truth")).to_have_text("perhaps no digit")
    expect(page.locator("#status")).to_have_text(re.compile(r"^\d, .+ certain, perhaps no digit, \d+ evaluations$"))
    page.get_by_role("button", name="Clear").click()
    draw(page, SEVEN)
    expect(page.locator("#digit")).to_have_text("7")
    expect(page.locator("#truth")).not_to_contain_text("perhaps")


@contextmanager
def touching(browser: Browser, service: Running) -> Iterator[tuple[Page, Touch]]:
    """The page on a phone with an empty drawing area, and a function that moves fingers: ``_0`` is the first finger."""
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with visiting(browser, service.url, **phone) as page:
        page.get_by_role("button", name="Clear").tap()
        box = page.locator("#ink").bounding_box()
        assert box is not None
        devtools = page.context.new_cdp_session(page)

        def touch(kind: str, **places: tuple[float, float]) -> None:
            points = [
                {"id": int(name[1:]), "x": box["x"] + u * box["width"], "y": box["y"] + v * box["height"]}
                for name, (u, v) in places.items()
            ]
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        yield page, touch


def test_a_digit_drawn_by_finger_is_recognised(browser: Browser, service: Running) -> None:
    with touching(browser, service) as (page, touch):
        touch("touchStart", _0=(0.5, 0.15))
        for step in range(1, 11):
            touch("touchMove", _0=(0.5, 0.15 + 0.07 * step))
        touch("touchEnd")
        expect(page.locator("#digit")).to_have_text("1")


def test_a_second_finger_or_a_palm_does_not_change_the_stroke(browser: Browser, service: Running) -> None:
    """The second finger touches, moves and leaves while the first finger draws."""
    with touching(browser, service) as (page, touch):
        touch("touchStart", _0=(0.5, 0.15))
        touch("touchMove", _0=(0.5, 0.3))
        touch("touchStart", _0=(0.5, 0.3), _1=(0.1, 0.6))
        for step in range(5):
            touch("touchMove", _0=(0.5, 0.3 + 0.05 * step), _1=(0.1 + 0.2 * step, 0.6))
        touch("touchEnd", _0=(0.5, 0.5))
        touch("touchMove", _0=(0.5, 0.85))
        touch("touchEnd")
        expect(page.locator("#digit")).to_have_text("1")
        columns = page.evaluate(INKED_COLUMNS)
    assert 0 < len(columns) < 60, "of 560 columns, only those of a vertical stroke have ink"


def test_the_answer_appears_while_a_digit_is_drawn(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    box = page.locator("#ink").bounding_box()
    assert box is not None
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + 0.5 * side, y + 0.2 * side)
    page.mouse.down()
    page.mouse.move(x + 0.5 * side, y + 0.8 * side, steps=10)
    expect(page.locator("#digit")).to_have_text(ANY_DIGIT)
    page.mouse.up()


def test_undo_takes_back_strokes_and_a_clear(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    undo, clear = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Clear")
    draw(page, FOUR[1:])
    draw(page, FOUR[:1])
    expect(page.locator("#digit")).to_have_text("4")
    page.keyboard.press("Control+z")
    expect(page.locator("#digit")).not_to_have_text("4")
    undo.click()
    expect(page.locator("#digit")).to_have_text(NOTHING)
    expect(clear).to_be_disabled()
    draw(page, FOUR)
    clear.click()
    expect(page.locator("#hint")).to_be_visible()
    undo.click()
    expect(page.locator("#digit")).to_have_text("4")


# Pick a digit; drop, paste or choose a picture.


def test_the_picked_digit_is_the_one_on_the_drawing_area(page: Page) -> None:
    three, four = (page.get_by_role("radio", name=f"Digit {digit}", exact=True) for digit in (3, 4))
    three.check()
    four.check()
    page.get_by_role("button", name="Undo").click()
    expect(three).to_be_checked()
    expect(page.locator("#truth")).to_have_text("right: labelled 3")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#samples input:checked")).to_have_count(0)


def test_a_digit_may_be_picked_by_keyboard(page: Page) -> None:
    page.get_by_role("radio", name="Digit 3", exact=True).focus()
    page.keyboard.press("Space")
    expect(page.locator("#digit")).to_have_text("3")
    expect(page.locator("#truth")).to_have_text("right: labelled 3")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#digit")).to_have_text("4")
    expect(page.locator("#status")).to_have_text(re.compile(r"^4, .+ certain, \d+ evaluations$"))


def test_each_digit_to_pick_has_its_label_and_is_recognised(page: Page) -> None:
    for label in range(10):
        page.get_by_role("radio", name=f"Digit {label}", exact=True).check()
        expect(page.locator("#truth")).to_have_text(f"right: labelled {label}")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_may_be_dropped_or_pasted(page: Page, event: str) -> None:
    drop(page, encoded(255 - seven().repeat(12, 0).repeat(12, 1)), event)
    expect(page.locator("#digit")).to_have_text("7")
    expect(page.locator("#samples input:checked")).to_have_count(0)


def test_a_chosen_picture_that_the_service_would_refuse_is_converted(page: Page) -> None:
    """This service accepts only PNG and JPEG, with at most a million pixels."""
    large = 255 - seven().repeat(60, 0).repeat(60, 1)
    for kind in ("webp", "gif", "bmp", "avif"):
        give(page, encoded(large, kind), f"picture.{kind}", f"image/{kind}")
        expect(page.locator("#digit")).to_have_text("7")
        page.get_by_role("button", name="Clear").click()


def test_a_small_file_with_many_pixels_is_converted_too(page: Page) -> None:
    large = encoded(255 - seven().repeat(60, 0).repeat(60, 1))
    assert len(large) < 100_000
    give(page, large)
    expect(page.locator("#digit")).to_have_text("7")


def test_the_page_shows_the_image_that_the_network_sees(page: Page) -> None:
    image = load_test_set()[0][4]
    give(page, encoded(image))
    expect(page.locator("#digit")).to_have_text("4")
    shown = page.evaluate(
        """() => {
            const { data } = document.getElementById("seen").getContext("2d").getImageData(0, 0, 28, 28);
            return Array.from(data).filter((_, place) => place % 4 === 0);
        }"""
    )
    assert shown == image.ravel().tolist()


# Choose how precisely to solve.


def test_the_slider_changes_the_cost_and_for_this_digit_the_answer(page: Page) -> None:
    digits = json.loads((STATIC / "digits.json").read_text())
    label = digits["labels"][digits["begin"]]
    expect(page.locator("#truth")).to_have_text(f"wrong: labelled {label}")
    expect(page.locator("#rare")).to_contain_text("A rare case")
    set_slider(page, "Home")
    expect(page.locator("#nfe")).to_have_text("2")
    expect(page.locator("#steps-chart")).to_contain_text("step of 1")
    loose = page.locator("#error").inner_text()
    set_slider(page, "End")
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    expect(page.locator("#truth")).to_have_text(f"right: labelled {label}")
    assert nfe(page) > 50
    assert page.locator("#error").inner_text() != loose
    expect(page.locator("#setting")).to_have_text("10⁻⁶")
    assert page.locator("#slider").get_attribute("aria-valuetext") == "10⁻⁶"


def test_the_slider_may_be_dragged(page: Page) -> None:
    box = page.locator("#slider").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 7, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=20)
    page.mouse.up()
    expect(page.locator("#nfe")).not_to_have_text("2")
    assert nfe(page) > 10


def test_a_fixed_step_method_takes_the_steps_of_the_slider(page: Page) -> None:
    page.get_by_role("radio", name="Steps").check()
    page.get_by_label("Method").select_option("rk4")
    set_slider(page, "Home")
    set_slider(page, "ArrowRight", 4)
    expect(page.locator("#by")).to_have_text("rk4, 5 steps")
    expect(page.locator("#nfe")).to_have_text("20")
    expect(page.locator("#error")).to_have_text("none")


def test_a_deadline_leaves_time_to_solve_a_doubtful_digit_again(page: Page) -> None:
    """A busy machine may miss the deadlines of the slider, so we send a minute instead."""

    def allow_a_minute(route: Route) -> None:
        route.continue_(url=re.sub(r"deadline_ms=\d+", "deadline_ms=60000", route.request.url))

    page.route(re.compile("deadline_ms="), allow_a_minute)
    page.get_by_role("radio", name="Deadline").check()
    set_slider(page, "End")
    expect(page.locator("#setting")).to_have_text("320 ms")
    expect(page.locator("#right-end")).to_contain_text("320 ms")
    expect(page.locator("#by")).to_contain_text("after a doubtful loose solve")
    page.get_by_label("Method").select_option("bosh3")
    expect(page.locator("#by")).to_have_text(re.compile(r"^bosh3 at "))


def test_another_model_may_be_chosen(page: Page) -> None:
    page.get_by_label("Model").select_option("rknet")
    expect(page.locator("#tradeoff-lead")).to_contain_text("as measured for rknet")
    expect(page.locator("#curl")).to_contain_text("model=rknet")


def test_a_model_without_fixed_steps_and_without_ladders_offers_neither(page: Page) -> None:
    """Such as the model of the tutorial."""

    def answer(route: Route) -> None:
        details = route.fetch().json()
        profile = details["profile"]
        profile["points"] = [point for point in profile["points"] if point["solver"]["steps"] is None]
        route.fulfill(json=details | {"profile": profile | {"ladders": []}})

    page.get_by_role("radio", name="Steps").check()
    page.route("**/models/rknet", answer)
    page.get_by_label("Model").select_option("rknet")
    expect(page.locator("#curl")).to_contain_text("model=rknet")
    expect(page.get_by_role("radio", name="Tolerance")).to_be_checked()
    for mode in ("Steps", "Agreement"):
        expect(page.get_by_role("radio", name=mode)).to_be_disabled()


def test_the_last_chosen_model_stays_even_if_the_details_of_another_arrive_later(page: Page) -> None:
    held = Held(page, "**/models/rknet")
    page.get_by_label("Model").select_option("rknet")
    held.wait_until(1)
    page.get_by_label("Model").select_option("odenet-mnist")
    with page.expect_response("**/models/rknet"):
        held.release(0)
    set_slider(page, "End")
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    expect(page.locator("#tradeoff-lead")).to_contain_text("as measured for odenet-mnist")
    expect(page.locator("#curl")).to_contain_text("model=odenet-mnist")


# The charts of the solve.


def test_the_solve_is_drawn_with_its_accepted_and_rejected_steps(page: Page) -> None:
    page.get_by_label("Method").select_option("dopri5")
    set_slider(page, "End")
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    accepted = int(page.locator("#steps").inner_text())
    match = re.search(r"and (\d+) rejected", page.locator("#rejected").inner_text())
    assert match is not None, "this digit has rejected steps at this tolerance"
    rejected = int(match[1])
    name = page.locator("#steps-chart svg").get_attribute("aria-label") or ""
    assert f"{accepted} accepted steps, {rejected} rejected" in name
    for kind, count in ((":not(.rejected)", accepted), (".rejected", rejected)):
        path = page.locator(f"#steps-chart path.step{kind}").get_attribute("d") or ""
        assert path.count("M") == count


def test_the_logits_are_drawn_along_the_depth_with_the_winner_in_front(page: Page) -> None:
    page.get_by_role("radio", name="Digit 5", exact=True).check()
    set_slider(page, "ArrowRight", 12)
    expect(page.locator("#by")).to_contain_text(" at 10⁻³")
    accepted = int(page.locator("#steps").inner_text())
    lines = page.locator("#logits-chart .logit")
    expect(lines).to_have_count(10)
    expect(page.locator("#logits-chart .logit.first text")).to_contain_text("5 · ")
    expect(page.locator("#logits-chart .logit.first circle")).to_have_count(accepted + 1)
    expect(page.locator("#logits-chart svg")).to_have_attribute("aria-label", re.compile(r"5 at t = 1"))


def test_the_trade_off_chart_marks_the_current_setting(page: Page, client: httpx.Client) -> None:
    points = client.get("/models/odenet-mnist").json()["profile"]["points"]
    expect(page.locator("#tradeoff-chart .curve circle")).to_have_count(len(points))
    ring = page.locator("#tradeoff-chart .here")
    places = []
    for key in ("Home", "End"):
        set_slider(page, key)
        expect(page.locator("#tradeoff-chart svg")).to_have_attribute(
            "aria-label", re.compile("at 10:" if key == "Home" else "at 10⁻⁶:")
        )
        x, y = (ring.get_attribute(name) or "" for name in ("cx", "cy"))
        expect(page.locator(f"#tradeoff-chart .curve.first circle[cx='{x}'][cy='{y}']").first).to_be_attached()
        places.append(float(x))
    assert places[0] < places[1], "a tighter solve costs more"


# Compare.


def test_settings_and_networks_are_compared_and_different_answers_are_marked(page: Page) -> None:
    loose = page.locator("#digit").inner_text()  # the page begins with heun2 at tolerance 1
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#compare-note")).to_have_text(
        re.compile(r"[1-9] of 9 answers differs? from the tightest solve's, \d\.")
    )
    tight = page.locator("#compare-note").inner_text().rstrip(".")[-1]
    rows = page.locator("#compare-table tbody tr")
    compared = {row.locator("th").inner_text(): row for row in rows.all()}
    assert {
        "euler, 1 step",
        "heun2 at 1",
        "dopri5 at 10⁻⁵",
        "mlp, fixed depth",
        "resnet, fixed depth",
    } <= compared.keys()
    for row in compared.values():
        answer = row.locator(".given").inner_text()
        assert answer in {tight, f"≠ {answer[-1]}"}
        assert ("differs" in (row.get_attribute("class") or "")) == (answer != tight)
    assert compared["heun2 at 1"].locator(".given").inner_text() == f"≠ {loose}"
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#compare-table")).to_be_hidden()
