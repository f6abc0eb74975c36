"""The installed Chromium, for the screenshot of the page and for its tests."""

import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

MISSING = "PATH has no Chromium; on Debian: apt-get install chromium-headless-shell"

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Flags that let Chromium run as root in a container, and send no requests of its own."""


def find() -> str | None:
    """The path of Chromium, or None. The headless shell comes first, because it takes a third of the processor time."""
    return next(filter(None, map(shutil.which, NAMES)), None)
