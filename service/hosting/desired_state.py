"""Which models are to be served: what the processes that serve at one address agree on."""

import mmap
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import NamedTuple, Self

TOKEN_BYTES = 8
AT_ONCE, UNLOADED = "at once", "unloaded"


class DesiredVersion(NamedTuple):
    """That a version of a model is to be served, and no other of it.

    Attributes:
        version: of the model.
        at_once: whether who asks for the model waits for it; else the version before answers until it is loaded.
    """

    version: str
    at_once: bool


class DesiredState:
    """What is to be served, what callers have unloaded, and which versions were refused.

    Beside that lies a token that changes whenever what is to be served has, and that costs next to nothing to look at.
    Nothing is locked: an entry is replaced whole, and the token is set anew after that.

    Args:
        orders: by the models' names.
        refused: why, by name and version.
        token: of so many bytes.
    """

    def __init__(
        self, orders: MutableMapping[str, str], refused: MutableMapping[str, str], token: bytearray | mmap.mmap
    ) -> None:
        self._orders = orders
        self._refused = refused
        self._token = token

    @classmethod
    def alone(cls) -> Self:
        """The desired of a process that serves alone."""
        return cls({}, {}, bytearray(TOKEN_BYTES))

    @classmethod
    def shared(cls, folder: Path) -> Self:
        """The desired of all processes that are given the same folder; made by the first."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "token"
        if not path.exists():
            path.write_bytes(bytes(TOKEN_BYTES))
        with path.open("r+b") as file:
            token = mmap.mmap(file.fileno(), TOKEN_BYTES)
        return cls(Files(folder / "models"), Files(folder / "refused"), token)

    @property
    def token(self) -> bytes:
        """Another after every change of what is to be served."""
        return bytes(self._token[:])

    def read(self) -> dict[str, DesiredVersion]:
        """What is to be served, by the models' names."""
        told = {name: text.partition(" ") for name, text in _items(self._orders) if text != UNLOADED}
        return {name: DesiredVersion(version, how == AT_ONCE) for name, (version, _, how) in told.items()}

    @property
    def unloaded(self) -> set[str]:
        """The models that callers have unloaded."""
        return {name for name, text in _items(self._orders) if text == UNLOADED}

    def put(self, name: str, version: str, *, at_once: bool = False) -> None:
        """Have a version served, and no other of the model."""
        self._orders[name] = f"{version} {AT_ONCE}" if at_once else version
        self._change()

    def unload(self, name: str) -> None:
        """Have a model served no more, until a caller loads it."""
        self._orders[name] = UNLOADED
        self._change()

    @property
    def refusals(self) -> dict[tuple[str, str], str]:
        """Why versions were refused, by name and version."""
        keyed = ((key.rpartition("@"), reason) for key, reason in _items(self._refused))
        return {(name, version): reason for (name, _, version), reason in keyed}

    def refuse(self, name: str, version: str, reason: str) -> None:
        """Note why a version cannot be served."""
        self._refused[f"{name}@{version}"] = reason

    def forgive(self, name: str, version: str) -> None:
        """Forget that a version was refused."""
        self._refused.pop(f"{name}@{version}", None)

    def _change(self) -> None:
        self._token[:] = os.urandom(TOKEN_BYTES)


def _items(texts: MutableMapping[str, str]) -> Iterator[tuple[str, str]]:
    """The items, less those that another process removes meanwhile."""
    for name in texts:
        if (text := texts.get(name)) is not None:
            yield name, text


class Files(MutableMapping[str, str]):
    """Texts by names, each a file that is replaced whole.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name for path in self._folder.iterdir() if not path.name.startswith(".")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> str:
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError as error:
            raise KeyError(name) from error

    def __setitem__(self, name: str, text: str) -> None:
        partial = self._folder / f".{name}.{os.getpid()}"
        partial.write_text(text)
        partial.replace(self._folder / name)

    def __delitem__(self, name: str) -> None:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError as error:
            raise KeyError(name) from error
