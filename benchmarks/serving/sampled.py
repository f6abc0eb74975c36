"""Runs the service, and samples where its event loop spends processor time.

    python -m benchmarks.serving.sampled FILE [FLAG OF THE SERVICE]...

A timer interrupts the process every millisecond of processor time (`setitimer(2)`, ITIMER_PROF). Python runs the
handler in the main thread, which also runs the event loop. Each sample gets the processor time of this thread since the
last sample, so that the samples add up to the time of the thread, whatever other threads do. The time belongs to the
innermost Python function, which includes the compiled functions that it calls.
"""

import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from service.server.main import main

INTERVAL = 1e-3
"""Seconds of processor time between two samples."""

LOOP = "uvloop: sockets, HTTP parser, tasks"
"""The layer of the compiled event loop. Its functions have no Python frame, so its caller has the time."""

LAYERS = {
    "asyncio/runners.py": LOOP,
    "service/server/": "service/server: connections",
    "service/telemetry/": "service/telemetry",
    "service/security/": "service/security",
    "service/api/": "service/api",
    "service/inference/": "service/inference",
    "service/engine/": "service/engine",
    "service/": "service: other",
    "models/": "models",
    "uvicorn/": "uvicorn",
    "fastapi/": "FastAPI and Starlette",
    "starlette/": "FastAPI and Starlette",
    "prometheus_client/": "prometheus_client",
    "pydantic": "pydantic",
    "numpy/": "NumPy",
}
"""The layer of each part of a file's path; the first part that occurs counts."""


class Sampler:
    """Samples the main thread from its construction on."""

    def __init__(self) -> None:
        self.seconds: Counter[CodeType] = Counter()
        self._last = time.thread_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def reset(self) -> None:
        """Forget all samples."""
        self.seconds.clear()

    def _sample(self, _signal: int, frame: FrameType | None) -> None:
        now = time.thread_time()
        if frame is not None:
            self.seconds[frame.f_code] += now - self._last  # type: ignore[assignment]
        self._last = now


def layer(path: str) -> str:
    """The layer of a source file."""
    return next((name for part, name in LAYERS.items() if part in path), "other")


if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    sampler = Sampler()
    signal.signal(signal.SIGUSR1, lambda *_: sampler.reset())
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        functions = [
            (layer(code.co_filename), code.co_qualname, seconds) for code, seconds in sampler.seconds.most_common()
        ]
        file.write_text(json.dumps(functions))
