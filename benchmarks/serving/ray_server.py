"""The service on Ray Serve, as it ships, with one replica, on a cluster of this machine: a server for benchmarks.

    python -m benchmarks.serving.ray_server PORT

The settings are the environment variables of the service and of Ray. Ends by SIGTERM.
"""

import signal
import sys

import ray
from ray import serve

from deploy.ray.app import deployment


def main(port: int) -> None:
    """Serve until a signal arrives."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(deployment.options(num_replicas=1).bind(), name="odenet", route_prefix="/")
    signal.sigwait(signals)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
