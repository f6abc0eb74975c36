"""The virtual environments of the peers."""

import os
import subprocess
import sys

from benchmarks.serving.peers.table import Peer
from benchmarks.serving.servers import ROOT, ServerError


def install(peer: Peer) -> None:
    """Create the virtual environment of a peer and install its packages, unless this was done before.

    uv installs in seconds, pip in minutes. uv does not read pip's configuration, so pip tries if uv fails.

    Raises:
        ServerError: the packages cannot be installed. The message has the last line of pip's output.
    """
    if peer.requirements is None:
        return
    folder = peer.python.parents[1]
    installed = folder / ".installed"
    wanted = peer.requirements.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return
    _run(peer, sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(peer.python), "-m", "pip", "install", "--quiet")
    _run(peer, *pip, "--constraint", str(ROOT / "constraints.txt"), "uv")
    wheels = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    packages = ("--requirement", str(peer.requirements))
    try:
        _run(
            peer,
            str(folder / "bin" / "uv"),
            "pip",
            "install",
            "--quiet",
            "--python",
            str(peer.python),
            *packages,
            **wheels,
        )
    except ServerError:
        _run(peer, *pip, *packages)
    installed.write_text(wanted)


def _run(peer: Peer, *command: str, **environment: str) -> None:
    """Run a command to its end, with variables in addition to those of this process."""
    done = subprocess.run(  # noqa: S603 (the commands are above)
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise ServerError(f"{peer.name} cannot be installed: {output[-1] if output else 'no output'}")
