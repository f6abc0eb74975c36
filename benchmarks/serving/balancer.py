"""HAProxy with the configuration that ships, before services on this machine."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving.plan import HOST
from benchmarks.serving.servers import PORT, ROOT, Command, free_port

CONFIGURATION = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
METRICS_ADDRESS = "BALANCER_METRICS_ADDRESS"
"""The variable with the address of HAProxy's metrics."""


def program() -> str | None:
    """The path of HAProxy's program; None if HAProxy is not installed. Debian installs it where only root looks."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def haproxy(ports: Sequence[int], folder: Path) -> Command:
    """The command of HAProxy, which calls the replicas replica1, replica2 and so on.

    Args:
        ports: the ports of the replicas.
        folder: the folder for the list of the replicas.
    """
    backend = folder / f"backend-{len(ports)}.cfg"
    servers = [f"    server replica{number} {HOST}:{port}\n" for number, port in enumerate(ports, 1)]
    backend.write_text("backend replicas\n" + "".join(servers))
    name = f"HAProxy, {len(ports)} replica{'s' * (len(ports) > 1)}"
    addresses = {"BALANCER_ADDRESS": f"{HOST}:{PORT}", METRICS_ADDRESS: f"{HOST}:{free_port()}"}
    return Command(name, (program() or "haproxy", "-db", "-f", str(CONFIGURATION), "-f", str(backend)), addresses)
