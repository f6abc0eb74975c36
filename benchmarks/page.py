"""The screenshot of the service's page in docs/figures: ``python -m benchmarks.page``. The program needs Chromium.

The screenshot shows the page down to its charts, with the first digit of the page. A loose solve and a tight solve give
different answers for this digit.
"""

import io

from PIL import Image
from playwright.sync_api import FloatRect, sync_playwright

from benchmarks.browser import FLAGS, MISSING, find
from benchmarks.figures import FOLDER
from benchmarks.serving.plan import HOST
from benchmarks.serving.servers import ours, running

WIDTH, HEIGHT = 1280, 900
MARGIN = 16  # pixels below the charts of the screenshot
NOTCHES = 12
"""Steps of the slider from the page's first tolerance to the tighter tolerance of the screenshot."""


def main() -> None:
    """Open the page, choose a tighter tolerance, and write the screenshot."""
    path = find()
    if path is None:
        raise FileNotFoundError(MISSING)
    with running(ours("--workers", "1")) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        page.goto(f"http://{HOST}:{server.port}")
        page.get_by_role("status").filter(has_text="certain").wait_for(state="attached")
        for _ in range(NOTCHES):
            page.locator("#slider").press("ArrowRight")
        page.locator("#by").filter(has_text=" at 10⁻³").wait_for()
        page.locator("#slider").blur()
        bottom = page.locator(".bench").evaluate("(charts) => charts.getBoundingClientRect().bottom + scrollY")
        clip: FloatRect = {"x": 0, "y": 0, "width": WIDTH, "height": bottom + MARGIN}
        shown = page.screenshot(full_page=True, clip=clip)
        browser.close()
    # A palette of 256 colours looks the same, and the file is less than half as large.
    palette = Image.open(io.BytesIO(shown)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(FOLDER / "page.png", optimize=True)


if __name__ == "__main__":
    main()
