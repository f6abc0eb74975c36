"""A person chooses an agreement on the page, and sees both solves of a doubtful digit."""

import json

from playwright.sync_api import Page, expect

from benchmarks.sprite import STATIC


def test_an_agreement_solves_a_doubtful_digit_again(page: Page) -> None:
    """The first digit of the page is one that a loose solve misreads."""
    digits = json.loads((STATIC / "digits.json").read_text())
    label = digits["labels"][digits["begin"]]
    page.get_by_role("radio", name="Agreement").check()
    expect(page.locator("#setting")).to_have_text("≥ 99.94 %")
    expect(page.locator("#explanation")).to_contain_text("Only if the two greatest logits are close")
    expect(page.locator("#by")).to_contain_text("after a doubtful loose solve")
    expect(page.locator("#truth")).to_have_text(f"right: labelled {label}")
    expect(page.locator("#curl")).to_contain_text("agreement=0.9994")
    expect(page.locator("#logits-chart path.looser")).to_have_count(1)
    expect(page.locator("#steps-chart path.looser")).to_have_count(1)
    page.get_by_role("radio", name="Digit 3", exact=True).check()
    expect(page.locator("#nfe")).to_have_text("2")
    expect(page.locator("#logits-chart path.looser")).to_have_count(0)
    page.locator("#slider").press("End")
    expect(page.locator("#by")).to_have_text("dopri5 at 10⁻⁶")
    page.get_by_role("radio", name="Tolerance").check()
    expect(page.locator("#explanation")).to_be_hidden()
