"""The API keys that an operator has issued: reads their file, finds the key of a request, and makes new keys.

The file holds only the SHA-256 hashes of the keys. A key has 256 random bits, so its hash reveals nothing about the
key. Such a key needs neither a salt nor a slow hash, because these protect passwords that people choose.
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
"""The greatest number of bytes of the file."""

PREFIX = "odenet_"
"""The start of every key, by which people and scanners for leaked secrets recognise a key."""

logger = logging.getLogger(__name__)


class Scope(Enum):
    """A permission that a key gives."""

    predict = "predict"
    """To request predictions, and to read the models and the documentation."""

    admin = "admin"
    """To load and unload models."""

    metrics = "metrics"
    """To read the metrics."""


class Key(BaseModel):
    """An entry of the file: an API key without its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """The name of the owner, for logs."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The hash of the key."""

    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    """The scopes of the key."""

    requests_per_minute: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    """The greatest number of requests per minute. They may all come at once. Absent for no limit."""


class KeyFile(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: tuple[Key, ...] = ()
    """The keys, each as a table `[[key]]`."""

    @field_validator("key")
    @classmethod
    def _are_distinct(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        names = Counter(key.name for key in keys)
        if twice := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"{names[twice[0]]} keys have the name {twice[0]}; remove or rename all but one")
        if len({key.sha256 for key in keys}) < len(keys):
            raise ValueError("two keys have the same hash")
        return keys


class Keys:
    """The keys of a file. The file is read again after each change.

    If the changed file is invalid, the previous keys stay valid and the log has the error. An empty file revokes all
    keys.

    Args:
        path: the path of the file.

    Raises:
        ValueError: the file cannot be read, or its content is invalid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _file_version(path)
        self._keys = read_keys(path)

    def __call__(self) -> tuple[Key, ...]:
        """The valid keys."""
        if (version := _file_version(self._path)) != self._version:
            self._version = version
            try:
                self._keys = read_keys(self._path)
            except ValueError as error:
                logger.error("the API keys are unchanged: %s", error)  # noqa: TRY400 (the message has the reason)
            else:
                names = ", ".join(key.name for key in self._keys)
                logger.info("read the API keys again; the valid keys are: %s", names or "none")
        return self._keys

    def find(self, secret: str) -> Key | None:
        """The key with this secret; None if there is none. The duration does not reveal how much of a hash matched."""
        digest = sha256(secret.encode()).hexdigest()
        found = None
        for key in self():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read the keys of a file.

    Raises:
        ValueError: the file cannot be read, or its content is invalid. The message has the reason, and no hash.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"api_key_file: {path}: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ValueError(f"api_key_file: {path}: the file is larger than {LARGEST_FILE:,} bytes")
    try:
        return KeyFile.model_validate(tomllib.loads(content.decode())).key
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"api_key_file: {path}: {reasons}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"api_key_file: {path}: {error}") from error


def make_key(name: str, scopes: frozenset[Scope], requests_per_minute: int | None = None) -> tuple[str, str]:
    """Make a new key.

    Returns:
        The key, which we store nowhere, and its entry for the file.
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


def _file_version(path: Path) -> tuple[int, ...] | None:
    """A value that changes when the file changes; None if the file does not exist."""
    try:
        status: stat_result = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
