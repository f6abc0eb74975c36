"""Virtual environments for the packages of the peers."""

import os
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"


class InstallError(Exception):
    """Packages cannot be installed. The message has the last line of the installer's output."""


def install(requirements: Path, folder: Path) -> None:
    """Create a virtual environment and install packages into it, unless this was done before with the same file.

    We try uv first, because it installs in seconds and pip in minutes. uv does not read pip's configuration, so we try
    pip if uv fails.

    Args:
        requirements: the file that names the packages.
        folder: the virtual environment.

    Raises:
        InstallError: the environment cannot be made, or the packages cannot be installed.
    """
    installed, wanted = folder / ".installed", requirements.read_text()
    if installed.exists() and installed.read_text() == wanted:
        return
    python = str(folder / "bin" / "python")
    pip = (python, "-m", "pip", "install", "--quiet")
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    _run(*pip, "--constraint", str(CONSTRAINTS), "uv")
    try:
        _run(python, "-m", "uv", "pip", "install", "--quiet", "--python", python, "--requirement", str(requirements))
    except InstallError:
        _run(*pip, "--requirement", str(requirements))
    installed.write_text(wanted)


def _run(*command: str) -> None:
    """Run a command to its end."""
    wheels = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    done = subprocess.run(  # noqa: S603 (the commands are above)
        command, capture_output=True, text=True, check=False, env=os.environ | wheels
    )
    if done.returncode:
        output = (done.stderr or done.stdout).strip().splitlines()
        raise InstallError(output[-1] if output else f"{command[0]} ended with {done.returncode}")
