"""The real service in a process of its own, on a real socket."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import httpx

from models.artifact import newest
from tests import forking
from tests.forking import ForkedService
from tests.waiting import HANG, until

ROOT = Path(__file__).parents[1]
FITTED = ROOT / "models" / "fitted"
EVERY_MODEL = sorted(path.name for path in FITTED.glob("*/"))
DEFAULT_MODEL = "odenet-mnist"
FASTEST_MODEL = ("mlp",)
"""The model that loads the fastest. It solves no ODE."""

TWO_MODELS = (DEFAULT_MODEL, "mlp")
"""The model that the service serves by default, and the model that loads the fastest."""

SHIPPED = newest(FITTED / DEFAULT_MODEL) or FITTED
"""The artifact that ships, and that the service serves by default."""


SMALL_LIMITS = {"ODENET_MAX_IMAGES": "50", "ODENET_MAX_BODY_BYTES": "400000", "ODENET_MAX_PIXELS": "1000000"}
"""The limits of the service that the tests of the API use, so that requests beyond them are small."""


may_start = True
"""Whether the test that runs now has the mark `system`; `tests/conftest.py` keeps this up to date."""


@dataclass
class Running:
    """A service that listens."""

    url: str
    process: ForkedService
    log: list[str]

    def client(self) -> httpx.Client:
        """A client of the service, which the caller must close."""
        return httpx.Client(base_url=self.url, timeout=HANG)

    def grpc_address(self, workers: int = 1) -> str:
        """The address for gRPC, once all workers of a service with `--grpc-port` listen there."""
        addresses: list[str] = []

        def all_listen() -> bool:
            addresses[:] = re.findall(r"gRPC running on (\S+)", "".join(self.log))
            return len(addresses) >= workers

        until(all_listen)
        return addresses[0]


def start(*flags: str, program: Sequence[str] = ("-m", "service"), **environment: str) -> subprocess.Popen[str]:
    """Start the service by its command, with flags and settings in the environment.

    Args:
        flags: the service's own flags.
        program: the arguments of Python in front of these flags.
        environment: settings in the environment.
    """
    assert may_start, "a test that starts the service needs pytest.mark.system"
    return subprocess.Popen(
        [sys.executable, *program, *flags],
        cwd=ROOT,
        env=_environment(environment),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def fork(*flags: str, **environment: str) -> ForkedService:
    """Start the service as `start` does, but as a fork of a process that has imported the service."""
    assert may_start, "a test that starts the service needs pytest.mark.system"
    return ForkedService(flags, _environment(environment))


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """The environment of the tests, with the given settings of the service and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ODENET_")}
    return inherited | settings


def command(
    words: Sequence[str], environment: dict[str, str], standard_input: bytes = b"", python: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m service`` with a command. Its environment has only the given variables.

    The command is a fork of a process that has imported the service, unless the test needs flags for Python.

    Args:
        words: the command and its arguments.
        environment: the whole environment.
        standard_input: the text that the command reads.
        python: flags for Python.
    """
    if python:
        done = subprocess.run(
            [sys.executable, *python, "-m", "service", *words],
            cwd=ROOT,
            env=environment,
            input=standard_input,
            capture_output=True,
            timeout=HANG,
            check=False,
        )
    else:
        done = forking.run(words, environment, standard_input, HANG)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def running(*flags: str, models: Sequence[str] = FASTEST_MODEL, **environment: str) -> Iterator[Running]:
    """Run the service on a free port, and stop the service at the end of the block.

    Args:
        flags: the service's own flags. A ``--models`` among them replaces ``models``.
        models: the names of the shipped models to serve. If the usual default is not among them, the first one is
            the default. Each model with an ODE adds half a second of processor time to the start of a process.
        environment: settings in the environment. Unless they are given here, the service has one worker and no grace
            period, and its queue refuses a request only after a delay of ten minutes, even on a slow machine.
    """
    settings = {"ODENET_WORKERS": "1", "ODENET_GRACE_SECONDS": "0", "ODENET_QUEUE_SECONDS": "600"} | environment
    with ExitStack() as stack:
        if "--models" not in flags:
            default = DEFAULT_MODEL if DEFAULT_MODEL in models else models[0]
            settings = {"ODENET_MODEL": default} | settings
            flags = ("--models", stack.enter_context(folder_of(models)), *flags)
        process = fork("--port", "0", *flags, **settings)
        assert process.stderr is not None
        stderr, log = stack.enter_context(process.stderr), list[str]()
        reader = Thread(target=lambda: log.extend(stderr), daemon=True)  # so that the pipe never fills
        try:
            url, started = None, 0
            while url is None or started < int(settings["ODENET_WORKERS"]):
                line = stderr.readline()
                assert line, f"the service ended at its start: {''.join(log)}"
                log.append(line)
                listening = re.search(r"running on (https?://\S+)", line)
                url = listening[1] if listening else url
                started += "startup complete" in line
            until(lambda: _listens(url))  # a process logs that it has started just before it listens
            reader.start()
            yield Running(url, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=HANG)
            if reader.ident is not None:
                reader.join()  # no process writes to the pipe any more


def _listens(url: str) -> bool:
    """Whether the service accepts connections."""
    address = httpx.URL(url)
    try:
        socket.create_connection((address.host, address.port or 0), timeout=HANG).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def folder_of(models: Sequence[str]) -> Iterator[str]:
    """A models folder that holds some of the shipped models, by links."""
    with TemporaryDirectory(prefix="models-") as folder:
        for name in models:
            Path(folder, name).symlink_to(FITTED / name)
        yield folder
