"""The desired state: which models should be served. All worker processes of the service share it."""

import mmap
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import NamedTuple, Self

TOKEN_BYTES = 8
AT_ONCE, UNLOADED = "at once", "unloaded"


class DesiredVersion(NamedTuple):
    """The version of a model that should be served.

    Attributes:
        version: the version.
        at_once: whether requests for the model wait until the version is loaded. Otherwise the previous version answers
            them in the meantime.
    """

    version: str
    at_once: bool


class DesiredState:
    """The versions that should be served, the models that callers have unloaded, and the versions that were refused.

    A token changes after every change of the versions, and reading the token costs hardly any time. There are no locks:
    each entry is replaced as a whole, and the token is set after the entry.

    Args:
        entries: for each model's name, its version, or that it is unloaded.
        refused: for each name and version, the reason for the refusal.
        token: `TOKEN_BYTES` bytes.
    """

    def __init__(
        self, entries: MutableMapping[str, str], refused: MutableMapping[str, str], token: bytearray | mmap.mmap
    ) -> None:
        self._entries = entries
        self._refused = refused
        self._token = token

    @classmethod
    def alone(cls) -> Self:
        """The desired state of a process that serves alone."""
        return cls({}, {}, bytearray(TOKEN_BYTES))

    @classmethod
    def shared(cls, folder: Path) -> Self:
        """The desired state of all processes that use the same folder. The first process makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "token"
        if not path.exists():
            path.write_bytes(bytes(TOKEN_BYTES))
        with path.open("r+b") as file:
            token = mmap.mmap(file.fileno(), TOKEN_BYTES)
        return cls(TextFiles(folder / "models"), TextFiles(folder / "refused"), token)

    @property
    def token(self) -> bytes:
        """Changes after every change of the versions that should be served."""
        return bytes(self._token[:])

    def read(self) -> dict[str, DesiredVersion]:
        """The versions that should be served, by the models' names."""
        parts = {name: text.partition(" ") for name, text in _items(self._entries) if text != UNLOADED}
        return {name: DesiredVersion(version, when == AT_ONCE) for name, (version, _, when) in parts.items()}

    @property
    def unloaded(self) -> set[str]:
        """The models that callers have unloaded."""
        return {name for name, text in _items(self._entries) if text == UNLOADED}

    def put(self, name: str, version: str, *, at_once: bool = False) -> None:
        """Ask for a version of a model, in place of its other versions."""
        self._entries[name] = f"{version} {AT_ONCE}" if at_once else version
        self._change_token()

    def unload(self, name: str) -> None:
        """Ask that a model is not served until a caller loads it."""
        self._entries[name] = UNLOADED
        self._change_token()

    @property
    def refusals(self) -> dict[tuple[str, str], str]:
        """The reasons why versions were refused, by name and version."""
        keyed = ((key.rpartition("@"), reason) for key, reason in _items(self._refused))
        return {(name, version): reason for (name, _, version), reason in keyed}

    def refuse(self, name: str, version: str, reason: str) -> None:
        """Record why a version cannot be served."""
        self._refused[f"{name}@{version}"] = reason

    def clear_refusal(self, name: str, version: str) -> None:
        """Forget that a version was refused."""
        self._refused.pop(f"{name}@{version}", None)

    def _change_token(self) -> None:
        self._token[:] = os.urandom(TOKEN_BYTES)


def _items(texts: MutableMapping[str, str]) -> Iterator[tuple[str, str]]:
    """The items, without those that another process removes in the meantime."""
    for name in texts:
        if (text := texts.get(name)) is not None:
            yield name, text


class TextFiles(MutableMapping[str, str]):
    """Texts by name, each in a file that is replaced as a whole.

    Args:
        folder: the folder of the files; it is made if it does not exist.
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
            return (self._folder / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise KeyError(name) from error

    def __setitem__(self, name: str, text: str) -> None:
        partial = self._folder / f".{name}.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self._folder / name)

    def __delitem__(self, name: str) -> None:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError as error:
            raise KeyError(name) from error
