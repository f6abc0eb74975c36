"""How often a key may be used, in one process and in several."""

import multiprocessing
import time
from pathlib import Path

import pytest

from service.security.keys import Key, Scope
from service.security.rates import Rates
from tests.full_disk import files_up_to


def key(requests_per_minute: int | None, name: str = "alice") -> Key:
    return Key(name=name, sha256="0" * 64, scopes=frozenset({Scope.predict}), requests_per_minute=requests_per_minute)


@pytest.fixture(params=["alone", "shared"])
def rates(request: pytest.FixtureRequest, tmp_path: Path) -> Rates:
    return Rates(tmp_path if request.param == "shared" else None)


def test_the_requests_of_a_minute_may_come_at_once(rates: Rates) -> None:
    waits = [rates.take(key(3)) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(1 <= wait <= 20 for wait in waits[3:]), "the next token comes after a third of a minute"


def test_a_refused_request_uses_no_token(rates: Rates) -> None:
    """The wait does not grow with further requests."""
    assert rates.take(key(1)) == 0
    assert all(1 <= rates.take(key(1)) <= 60 for _ in range(100))


def test_tokens_come_back_evenly(rates: Rates) -> None:
    limit = 1200  # one token every 50 ms
    while not rates.take(key(limit)):
        pass
    given_up = time.monotonic() + 30
    while rates.take(key(limit)):
        assert time.monotonic() < given_up, "no token comes back"
    assert rates.take(key(limit)) in {0, 1}


def test_each_key_has_a_bucket_of_its_own(rates: Rates) -> None:
    assert rates.take(key(1)) == 0
    assert rates.take(key(1)) > 0
    assert rates.take(key(1, "bob")) == 0


def test_a_key_without_a_rate_is_not_limited(rates: Rates) -> None:
    assert not any(rates.take(key(None)) for _ in range(10_000))


def test_a_changed_rate_applies_at_once(rates: Rates) -> None:
    assert rates.take(key(1)) == 0
    assert rates.take(key(1)) > 30
    assert rates.take(key(1000)) <= 1


LIMIT = 50


def count(folder: Path) -> int:
    """How many uses of the key a process is allowed."""
    rates = Rates(folder)
    return sum(rates.take(key(LIMIT)) == 0 for _ in range(3 * LIMIT))


def test_processes_share_the_rate_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "rates").mkdir()
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        used = pool.map(count, [tmp_path] * 3)
    came_back = (time.monotonic() - started) * LIMIT / 60 + 1
    assert LIMIT <= sum(used) <= LIMIT + came_back


def test_a_full_disk_fails_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The processes then limit a key that is new to them each by itself."""
    rates, other = Rates(tmp_path), Rates(tmp_path)
    with files_up_to(0):
        assert [rates.take(key(3)) > 0 for _ in range(5)] == [False] * 3 + [True] * 2
        assert other.take(key(3)) == 0
    assert "each process limits the key alice by itself" in caplog.text
