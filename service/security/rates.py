"""Limits how often each key is used, by a token bucket for each key. All worker processes share the buckets."""

import fcntl
import logging
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

logger = logging.getLogger(__name__)

STATE = Struct("=q")
"""The format of a token bucket's state, which is one number."""


class Rates:
    """The token buckets of the keys. A bucket holds one minute's requests as tokens and refills evenly over a minute.

    Args:
        folder: the folder that the worker processes share; None for a process that serves alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / "rates"
        self._stores: dict[str, StateStore] = {}
        if self._folder is not None:
            self._folder.mkdir(exist_ok=True)

    def take(self, key: Key) -> int:
        """Count one use of a key.

        Returns:
            0 if the use is allowed. Otherwise the whole seconds after which it will be allowed.
        """
        if key.requests_per_minute is None:
            return 0
        if key.name not in self._stores:
            self._stores[key.name] = (
                InMemoryStateStore() if self._folder is None else SharedStore(self._folder / key.name)
            )
        rates = [Rate(key.requests_per_minute, Duration.MINUTE)]
        now = monotonic_ns() // 1_000_000
        try:
            decision = self._stores[key.name].check(TokenBucket(), rates, now, 1)
        except OSError as error:  # the disk is full
            logger.warning("each process limits the key %s by itself: %s", key.name, error)
            self._stores[key.name] = InMemoryStateStore()
            decision = self._stores[key.name].check(TokenBucket(), rates, now, 1)
        assert isinstance(decision, Decision)  # noqa: S101 (neither store is asynchronous)
        return 0 if decision.allowed else max(1, math.ceil((decision.retry_after_ms or 0) / 1000))


class SharedStore(StateStore):
    """The state of a token bucket in a file. The process that uses the state locks the file.

    Args:
        path: the path of the file. The first use creates the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, algorithm: StateAlgorithm, rates: list[Rate], now: int, weight: int) -> Decision:
        """Take tokens, if the bucket has enough of them."""
        with self._locked() as file:
            state, decision = algorithm.step(rates, _state(file, algorithm, rates), now, weight)
            if decision.allowed:
                file.seek(0)
                file.write(STATE.pack(int(state[0])))
        return decision

    def read(self, algorithm: StateAlgorithm, rates: list[Rate]) -> State:
        """The current state."""
        with self._locked() as file:
            return _state(file, algorithm, rates)

    def reset(self) -> None:
        """Fill the bucket."""
        with self._locked() as file:
            file.truncate(0)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        with FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:  # closing the file unlocks it
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _state(file: FileIO, algorithm: StateAlgorithm, rates: list[Rate]) -> State:
    content = file.read(STATE.size)
    return STATE.unpack(content) if content else algorithm.initial(rates)
