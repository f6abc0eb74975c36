"""How often a key may be used: a token bucket for each, which all processes share."""

import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from struct import Struct
from time import monotonic_ns

from pyrate_limiter import Duration, InMemoryStateStore, Rate, StateAlgorithm, StateStore, TokenBucket
from pyrate_limiter.abstracts.algorithm import Decision, State

from service.security.keys import Key

STATE = Struct("=q")
"""The only number of a token bucket's state."""


class Rates:
    """The token buckets of keys: as many tokens as requests a minute, which come back evenly over the minute.

    Args:
        folder: that the processes share; None for one that serves alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / "rates"
        self._stores: dict[str, StateStore] = {}
        if self._folder is not None:
            self._folder.mkdir(exist_ok=True)

    def take(self, key: Key) -> int:
        """Use a key once.

        Returns:
            0, or where that is too often the whole seconds after which it is not.
        """
        if key.requests_per_minute is None:
            return 0
        if key.name not in self._stores:
            self._stores[key.name] = (
                InMemoryStateStore() if self._folder is None else SharedStore(self._folder / key.name)
            )
        rates = [Rate(key.requests_per_minute, Duration.MINUTE)]
        decision = self._stores[key.name].check(TokenBucket(), rates, monotonic_ns() // 1_000_000, 1)
        assert isinstance(decision, Decision)  # noqa: S101 (neither store is asynchronous)
        return 0 if decision.allowed else max(1, math.ceil((decision.retry_after_ms or 0) / 1000))


class SharedStore(StateStore):
    """The state of a token bucket in a file, locked by whichever process uses it.

    Args:
        path: of the file; made by the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, algorithm: StateAlgorithm, rates: list[Rate], now: int, weight: int) -> Decision:
        """Take tokens, if they are there."""
        with self._locked() as file:
            state, decision = algorithm.step(rates, _state(file, algorithm, rates), now, weight)
            if decision.allowed:
                file.seek(0)
                file.write(STATE.pack(int(state[0])))
        return decision

    def read(self, algorithm: StateAlgorithm, rates: list[Rate]) -> State:
        """The state."""
        with self._locked() as file:
            return _state(file, algorithm, rates)

    def reset(self) -> None:
        """Have all tokens there."""
        with self._locked() as file:
            file.truncate(0)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        with FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:  # to close it unlocks it
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _state(file: FileIO, algorithm: StateAlgorithm, rates: list[Rate]) -> State:
    content = file.read(STATE.size)
    return STATE.unpack(content) if content else algorithm.initial(rates)
