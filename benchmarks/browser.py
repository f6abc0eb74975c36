"""Chromium, as it is installed: for the picture of the page, and for its tests."""

import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

MISSING = "there is no Chromium on PATH; on Debian: apt-get install chromium-headless-shell"

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""With these it runs in a container as root, and asks nobody anything on its own account."""


def find() -> str | None:
    """The path of Chromium, the headless shell first, which needs a third of the processor; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)
