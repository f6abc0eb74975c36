"""The picture of the service's page in docs/figures: ``python -m benchmarks.page``; it needs Chromium.

The digit is the one that the page begins with; a loose solve reads it otherwise than a tight one.
"""

import io

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.browser import FLAGS, MISSING, find
from benchmarks.figures import FOLDER
from benchmarks.serving.plan import HOST
from benchmarks.serving.servers import ours, running

WIDTH, HEIGHT = 1280, 1220
NOTCHES = 12
"""Of the slider, by which it is solved more tightly than by default."""


def main() -> None:
    """Open the page, solve more tightly, and keep what is seen."""
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
        shown = page.screenshot()
        browser.close()
    # A palette of 256 colours looks the same, and takes less than half the room.
    palette = Image.open(io.BytesIO(shown)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(FOLDER / "page.png", optimize=True)


if __name__ == "__main__":
    main()
