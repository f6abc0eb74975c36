"""The API keys that an operator has given out: their file, and whose key a request shows.

A key is 256 random bits, so its SHA-256 says nothing about it, and needs neither salt nor a slow hash: these are for
what people think up. The file holds the hashes alone.
"""

import hmac
import logging
import secrets
import tomllib
from collections import Counter
from enum import Enum
from hashlib import sha256
from os import stat_result
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

LARGEST_FILE = 2**20
"""Bytes."""

PREFIX = "odenet_"
"""By which scanners for leaked secrets, and people, know what it is."""

logger = logging.getLogger(__name__)


class Scope(Enum):
    """What a key is for."""

    predict = "predict"
    """To ask for answers, and to look at the models and the documentation."""

    admin = "admin"
    """To load and unload models."""

    metrics = "metrics"
    """To read the metrics."""


class Key(BaseModel):
    """An API key, as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Whose it is, in logs."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The hash of the key."""

    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """What it is for."""

    requests_per_minute: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    """How many requests it may make, as many of them at once; as many as there is room for, where it is left out."""


class KeyFile(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: tuple[Key, ...] = ()
    """The keys, a table `[[key]]` each."""

    @field_validator("key")
    @classmethod
    def _each_is_one(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        names = Counter(key.name for key in keys)
        if twice := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"the name {twice[0]} is there {names[twice[0]]} times")
        if len({key.sha256 for key in keys}) < len(keys):
            raise ValueError("two have the same hash")
        return keys


class Keys:
    """The keys of a file, which is read again once it has changed.

    A file that has become wrong leaves the keys in force that it had before, and the log says so. An empty one revokes
    them all.

    Args:
        path: of the file.

    Raises:
        ValueError: it cannot be read, or its content is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _look(path)
        self._keys = read_keys(path)

    def __call__(self) -> tuple[Key, ...]:
        """The keys that are in force."""
        if (seen := _look(self._path)) != self._seen:
            self._seen = seen
            try:
                self._keys = read_keys(self._path)
            except ValueError as error:
                logger.error("the keys stay as they were: %s", error)  # noqa: TRY400 (the message says all)
            else:
                logger.info("the keys are now those of %s", ", ".join(key.name for key in self._keys) or "nobody")
        return self._keys

    def find(self, secret: str) -> Key | None:
        """Whose key that is; the time that it takes tells nothing of how much of a hash was right."""
        shown = sha256(secret.encode()).hexdigest()
        found = None
        for key in self():
            if hmac.compare_digest(key.sha256, shown):
                found = key
        return found


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        ValueError: it cannot be read, or its content is wrong; the message says how, and holds no hash.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"api_key_file: {path}: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ValueError(f"api_key_file: {path}: is larger than {LARGEST_FILE:,} bytes")
    try:
        return KeyFile.model_validate(tomllib.loads(content.decode())).key
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"api_key_file: {path}: {told}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"api_key_file: {path}: {error}") from error


def make_key(name: str, scopes: frozenset[Scope], requests_per_minute: int | None = None) -> tuple[str, str]:
    """A new key.

    Returns:
        The key, which is nowhere kept, and its entry for the file.
    """
    secret = f"{PREFIX}{secrets.token_urlsafe(32)}"
    key = Key(
        name=name,
        sha256=sha256(secret.encode()).hexdigest(),
        scopes=scopes,
        requests_per_minute=requests_per_minute,
    )
    listed = ", ".join(f'"{scope.value}"' for scope in Scope if scope in key.scopes)
    lines = ["[[key]]", f'name = "{key.name}"', f'sha256 = "{key.sha256}"', f"scopes = [{listed}]"]
    if requests_per_minute is not None:
        lines.append(f"requests_per_minute = {requests_per_minute}")
    return secret, "\n".join([*lines, ""])


def _look(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None while it is not there."""
    try:
        told: stat_result = path.stat()
    except OSError:
        return None
    return told.st_dev, told.st_ino, told.st_mtime_ns, told.st_size
