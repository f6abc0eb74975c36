"""A reader who runs the blocks of a page one after another, with their own service."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from benchmarks.serving.servers import free_port
from tests.handbook.blocks import Block
from tests.waiting import HANG

HERE = "127.0.0.1:8000"
"""The address of the service in the pages."""

GRPC_PORT = "9000"
"""The port of the service for gRPC in the pages."""

RPC_READY = "gRPC running on"
"""The text in the log of a service that accepts calls of gRPC."""

SERVES = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:make serve|\S*python -m service(?! +(?:config|key|predict)\b))\b.*$")
"""A line that starts a service. A service that runs already is stopped first."""

CHANGES = (
    (re.compile(r"training export"), "training export --rows 4"),
    (re.compile(r"--epochs \d+"), "--epochs 1"),
    (re.compile(r"deadline_ms=\d+"), "deadline_ms=600000"),
)
"""Replacements in the blocks, in addition to the port: they reduce the computation and lengthen deadlines."""

PRELUDE = """
set -euo pipefail
curl() { command curl --silent --show-error --fail "$@"; }
"""
"""A failing command or an answer with an error status fails its block."""

KEY = re.compile(r"which is stored nowhere: (\S+)")


class Reader:
    """Runs blocks in a folder, which also receives the log of the service.

    Args:
        folder: a copy of the repository.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "service.log"
        self._service: subprocess.Popen[bytes] | None = None
        port, self._grpc_port = free_port(), str(free_port())
        self._address = f"127.0.0.1:{port}"
        self._health = ""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("ODENET_", "MAKE", "MFLAGS"))
        }
        # With this PYTHON, make cannot create an environment, even if it considers one out of date.
        self._environment = inherited | {
            "ODENET_PORT": str(port),
            "ODENET_WORKERS": "1",
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",  # for the command `python`
            "PYTHON": "false",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop()

    def run(self, block: Block) -> str:
        """Run a block, and return its output and, for a shell block, the log of the service."""
        match block.language:
            case "python":
                self._ensure_service(block.text)
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
                self._ensure_service("\n".join(waiting))
                output.append(self._run(["bash", "-c", PRELUDE + self._changed("\n".join(waiting))]))
                waiting.clear()
            if line is not None and starts:
                self._start(line)
        return "".join(output) + self._logged()

    def _logged(self) -> str:
        """The log of the service so far, with all requests that it has answered."""
        if self._service is None:
            return ""
        with httpx.Client(verify=False, trust_env=False, timeout=HANG) as client:  # noqa: S501 (the test makes its own certificate)
            _ready(client, self._health)  # a request is logged right after its answer, so before the next answer
        return self.log.read_text(encoding="utf-8")

    def _ensure_service(self, text: str) -> None:
        """Start a service for commands that need one, if the page has not started one before."""
        if self._service is None and HERE in text:
            self._start("make serve")

    def _changed(self, text: str) -> str:
        for pattern, replacement in CHANGES:
            text = pattern.sub(replacement, text)
        return text.replace(HERE, self._address).replace(f"127.0.0.1:{GRPC_PORT}", f"127.0.0.1:{self._grpc_port}")

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
        """Start a service with the command in a line, and wait until it is ready."""
        self._stop()
        line = line.replace(f"--grpc-port {GRPC_PORT}", f"--grpc-port {self._grpc_port}")
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
        self._health = f"{scheme}://{self._address}/health/ready"
        given_up = time.monotonic() + HANG
        with httpx.Client(verify=False, trust_env=False, timeout=HANG) as client:  # noqa: S501 (the test makes its own certificate)
            while not (
                _ready(client, self._health) and ("--grpc-port" not in line or RPC_READY in self.log.read_text())
            ):
                assert self._service.poll() is None, f"{line}\n{self.log.read_text()}"
                assert time.monotonic() < given_up, f"{line}: the service is not ready\n{self.log.read_text()}"
                time.sleep(0.02)

    def _stop(self) -> None:
        """Stop the service, which must still be running."""
        if self._service is None:
            return
        service, self._service = self._service, None
        alive = service.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGINT)  # unlike SIGTERM, it stops without a grace period
        service.wait(HANG)
        assert alive, f"the service ended by itself\n{self.log.read_text()}"


def _ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False
