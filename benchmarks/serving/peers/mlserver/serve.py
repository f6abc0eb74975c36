"""MLServer with adaptive batching and two inference workers.

Source: the pages Adaptive Batching, Parallel Inference and Custom Inference Runtimes of MLServer's documentation.
"""

import json
import os
import socket
import sys
from pathlib import Path

from solve import LARGEST_BATCH, PROCESSES, WAIT, folder, port

MODEL = {
    "name": "odenet-mnist",
    "implementation": "digits.Digits",
    "max_batch_size": LARGEST_BATCH,
    "max_batch_time": WAIT,
}


def free_port() -> int:
    """A free port, because MLServer also listens for gRPC and for metrics."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
        return free


if __name__ == "__main__":
    here, repository = Path(__file__).parent, folder()
    ports = {"http_port": port(), "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", "debug": False, "parallel_workers": PROCESSES, **ports}
    (repository / "settings.json").write_text(json.dumps(settings))
    (repository / "model-settings.json").write_text(json.dumps(MODEL))
    os.environ["PYTHONPATH"] = os.pathsep.join((str(here), os.environ["PYTHONPATH"]))
    os.execv(Path(sys.executable).with_name("mlserver"), ["mlserver", "start", str(repository)])  # noqa: S606 (this process becomes the server)
