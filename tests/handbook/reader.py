"""A reader who does what a page says, block after block, with a service of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.handbook.blocks import Block
from tests.waiting import HANG

HERE = "127.0.0.1:8000"
"""Where the pages have the service."""

SERVES = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:make serve|\S*python -m service(?! +(?:config|key|predict)\b))\b.*$")
"""A line that starts a service; the one before it, if there is one, is ended."""

CHANGES = (
    (re.compile(r"--rows \d+"), "--rows 8"),
    (re.compile(r"--epochs \d+"), "--epochs 1"),
    (re.compile(r"deadline_ms=\d+"), "deadline_ms=600000"),
)
"""What is changed in the blocks, beside the port: how much is computed, and how fast this machine must be."""

PRELUDE = """
set -euo pipefail
curl() { command curl --silent --show-error --fail "$@"; }
"""
"""A command that fails, or an answer that is an error, fails its block."""

KEY = re.compile(r"which is stored nowhere: (\S+)")


class Reader:
    """Runs blocks in a folder; what the service writes is kept there.

    Args:
        folder: a copy of the repository.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "service.log"
        self._service: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"127.0.0.1:{port}"
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("ODENET_", "MAKE", "MFLAGS"))
        }
        # With this PYTHON, make makes no environment, whatever it takes to be missing.
        self._environment = inherited | {
            "ODENET_PORT": str(port),
            "ODENET_WORKERS": "1",
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",  # for `python` alone
            "PYTHON": "false",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop()

    def run(self, block: Block) -> str:
        """Do what a block says; what it printed, and what the service that it asked wrote to its log."""
        match block.language:
            case "python":
                self._ask_somebody(block.text)
                return self._run([sys.executable, "-c", self._changed(block.text)])
            case "diff":
                (self.folder / "change.diff").write_text(block.text, encoding="utf-8")
                return self._run(["git", "apply", "change.diff"])
            case _:
                return self._shell(block.text)

    def _shell(self, text: str) -> str:
        output, waiting = [], list[str]()
        for line in [*text.splitlines(), None]:
            starts = line is not None and SERVES.match(line)
            if line is not None and not starts:
                waiting.append(line)
            elif waiting:
                self._ask_somebody("\n".join(waiting))
                output.append(self._run(["bash", "-c", PRELUDE + self._changed("\n".join(waiting))]))
                waiting.clear()
            if line is not None and starts:
                self._start(line)
        return "".join(output) + (self.log.read_text(encoding="utf-8") if self.log.exists() else "")

    def _ask_somebody(self, text: str) -> None:
        """Start a service for commands that ask one, where the page has yet to start one."""
        if self._service is None and HERE in text:
            self._start("make serve")

    def _changed(self, text: str) -> str:
        for pattern, instead in CHANGES:
            text = pattern.sub(instead, text)
        return text.replace(HERE, self._address)

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        if key := KEY.search(done.stderr):
            self._environment.setdefault("KEY", key[1])
        return done.stdout

    def _start(self, line: str) -> None:
        """Start a service as a line says, and wait until it is ready."""
        self._stop()
        with self.log.open("wb") as log:
            self._service = subprocess.Popen(
                ["bash", "-c", line],  # noqa: S607
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        scheme = "https" if "--tls-certificate" in line else "http"
        given_up = time.monotonic() + HANG
        with httpx.Client(verify=False, trust_env=False) as client:  # noqa: S501 (a certificate of the test's own)
            while not _ready(client, f"{scheme}://{self._address}/health/ready"):
                assert self._service.poll() is None, f"{line}\n{self.log.read_text()}"
                assert time.monotonic() < given_up, f"{line}: is not ready\n{self.log.read_text()}"
                time.sleep(0.02)

    def _stop(self) -> None:
        """End the service; it must have lived until now."""
        if self._service is None:
            return
        service, self._service = self._service, None
        alive = service.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGINT)  # unlike SIGTERM it asks for no time of grace
        service.wait(HANG)
        assert alive, f"the service ended by itself\n{self.log.read_text()}"


def _ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False
