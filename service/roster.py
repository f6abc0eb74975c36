"""Which models are to be served: what the processes that serve at one address agree on."""

import mmap
import os
from pathlib import Path

TOKEN_BYTES = 8


class Roster:
    """A folder with a file for each model that is to be served, which holds the version.

    Beside them lies a token that changes whenever a file has, and that costs next to nothing to look at. Nothing is
    locked: a file is replaced whole, and the token is set anew after that.

    Args:
        folder: the same for all processes; made by the first.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "models"
        self._files.mkdir(parents=True, exist_ok=True)
        path = folder / "token"
        if not path.exists():
            path.write_bytes(bytes(TOKEN_BYTES))
        with path.open("r+b") as file:
            self._token = mmap.mmap(file.fileno(), TOKEN_BYTES)

    @property
    def token(self) -> bytes:
        """Another after every change."""
        return self._token[:]

    def read(self) -> dict[str, str]:
        """The version of each model, by its name."""
        names = (path.name for path in self._files.iterdir() if not path.name.startswith("."))
        versions = ((name, self._version(name)) for name in sorted(names))
        return {name: version for name, version in versions if version is not None}

    def put(self, name: str, version: str) -> None:
        """Have a version served, and no other of the model."""
        partial = self._files / f".{name}.{os.getpid()}"
        partial.write_text(version)
        partial.replace(self._files / name)
        self._token[:] = os.urandom(TOKEN_BYTES)

    def remove(self, name: str) -> None:
        """Have a model served no more."""
        (self._files / name).unlink(missing_ok=True)
        self._token[:] = os.urandom(TOKEN_BYTES)

    def _version(self, name: str) -> str | None:
        try:
            return (self._files / name).read_text()
        except FileNotFoundError:  # removed since it was listed
            return None
