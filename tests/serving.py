"""The real service in a process of its own, on a real socket."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import httpx

from models.artifact import newest

ROOT = Path(__file__).parents[1]
FITTED = ROOT / "models" / "fitted"
SHIPPED = newest(FITTED / "odenet-mnist") or FITTED
"""The artifact that ships, and that the service serves by default."""


@dataclass
class Running:
    """A service that listens."""

    url: str
    process: subprocess.Popen[str]
    log: list[str]

    def client(self) -> httpx.Client:
        """A client of it, which must be closed."""
        # A process says that it has started just before it listens.
        return httpx.Client(base_url=self.url, timeout=60, transport=httpx.HTTPTransport(retries=3))


def start(*flags: str, **environment: str) -> subprocess.Popen[str]:
    """Start the service with flags and settings in the environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ODENET_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service", *flags],
        cwd=ROOT,
        env=inherited | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def running(*flags: str, **environment: str) -> Iterator[Running]:
    """A service of one process on a free port, unless it is told otherwise, stopped when it is left."""
    settings = {"ODENET_WORKERS": "1", "ODENET_GRACE_SECONDS": "0"} | environment
    process = start("--port", "0", *flags, **settings)
    assert process.stderr is not None
    stderr, log = process.stderr, list[str]()
    reader = Thread(target=lambda: log.extend(stderr), daemon=True)  # so that the pipe never fills
    with process:
        try:
            url, started = None, 0
            while url is None or started < int(settings["ODENET_WORKERS"]):
                line = stderr.readline()
                assert line, f"the service ended at its start: {''.join(log)}"
                log.append(line)
                listening = re.search(r"running on (https?://\S+)", line)
                url = listening[1] if listening else url
                started += "startup complete" in line
            reader.start()
            yield Running(url, process, log)
        finally:
            process.terminate()
            process.wait(timeout=30)
            if reader.ident is not None:
                reader.join()  # whoever wrote has ended
