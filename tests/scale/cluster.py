"""A Ray cluster of several nodes on this machine, and the service on it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import ray
from ray import serve
from ray.cluster_utils import Cluster

from benchmarks.serving.servers import free_port
from tests.serving import ROOT
from tests.waiting import HANG, until

ADDRESS = "127.0.0.2"
"""The address of every node. Ray would replace 127.0.0.1 by an address of the machine's network."""

NODE = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "node_ip_address": ADDRESS, "include_dashboard": False}
"""How a node starts. The processors are the number of replicas that fit; the machine has no more of them for it."""

NAME = "odenet"
"""The name of the application, and of its deployment."""

OPEN = {"ODENET_NO_AUTH": "true"}
"""The settings with which everybody may send requests."""


@contextmanager
def running_cluster(nodes: int) -> Iterator[tuple[Cluster, str]]:
    """Run a cluster with Serve's proxy on the first node.

    Yields:
        The cluster, and the URL of the proxy.
    """
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    port = free_port()
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**NODE)
        ray.init(address=cluster.address, _node_ip_address=ADDRESS, logging_level="error", log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        yield cluster, f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def deploy(models: Path, settings: Mapping[str, str] = OPEN, **options: object) -> None:
    """Deploy the service, or update it, and wait until it runs.

    Args:
        models: the models folder of the replicas.
        settings: their other settings. The default model is `digits`, unless given here.
        options: options of the deployment.
    """
    from deploy.ray.app import deployment  # noqa: PLC0415 (Ray must read the environment first)

    variables = {"ODENET_MODELS": str(models), "ODENET_MODEL": "digits", **settings}
    actor = {"num_cpus": 1, "runtime_env": {"env_vars": variables}}
    serve.run(deployment.options(ray_actor_options=actor, **options).bind(), name=NAME, route_prefix="/")


def settled(number: int) -> bool:
    """Whether this number of replicas runs, and none starts or stops."""
    return list(_states()) == ["RUNNING"] * number


def _states() -> Iterator[str]:
    deployments = serve.status().applications[NAME].deployments
    for state, count in deployments[NAME].replica_states.items():
        yield from [str(getattr(state, "value", state))] * count


def processes() -> list[int]:
    """The processes of the replicas (Linux, proc(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has ended
            if path.read_bytes().startswith(f"ray::ServeReplica:{NAME}".encode()):
                found.append(int(path.parent.name))
    return found


def ready(url: str) -> bool:
    """Whether the service answers through the proxy."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=HANG).is_success
    except httpx.TransportError:
        return False


def wait_until_ready(url: str, number: int) -> None:
    """Wait until a number of replicas runs and the proxy reaches them."""
    until(lambda: settled(number) and ready(url))
