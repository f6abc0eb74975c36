"""Triton with its Python backend, dynamic batching, timeouts in the queue and two instances of the model.

The wheel nvidia-pytriton brings Triton. The Python backend expects the stub for this version of Python in its
folder, and a model expects its modules in its folder. So we write both folders to a temporary folder.

Source: the pages Batchers, Model Configuration and Python Backend of Triton's documentation.
"""

import os
import shutil
import sys
from pathlib import Path

import pytriton
import solve

SERVER = Path(pytriton.__file__).parent / "tritonserver"
LIBRARIES = SERVER.parents[1] / "nvidia_pytriton.libs"
HERE = Path(__file__).parent


def lay_out(folder: Path) -> None:
    """Write the folders ``backends`` and ``models`` for Triton."""
    version, stub = f"{sys.version_info.major}.{sys.version_info.minor}", "triton_python_backend_stub"
    shutil.copytree(SERVER / "backends", folder / "backends")
    shutil.copy(SERVER / "python_backend_stubs" / version / stub, folder / "backends" / "python" / stub)
    model = folder / "models" / "odenet-mnist"
    (model / "1").mkdir(parents=True)
    shutil.copy(HERE / "config.pbtxt", model)
    for source in (HERE / "model.py", solve.__file__):
        shutil.copy(source, model / "1")


if __name__ == "__main__":
    folder = solve.folder()
    lay_out(folder)
    options = {
        "model-repository": folder / "models",
        "backend-directory": folder / "backends",
        "http-address": "127.0.0.1",
        "http-port": solve.port(),
        "allow-grpc": "false",
        "allow-metrics": "false",
        "log-info": "false",
    }
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(LIBRARIES),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    arguments = ["tritonserver", *(f"--{name}={value}" for name, value in options.items())]
    os.execve(SERVER / "bin" / "tritonserver", arguments, environment)  # noqa: S606 (this process becomes the server)
