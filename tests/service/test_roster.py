"""What the processes that serve at one address agree on."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from service.roster import Roster


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    return Roster(tmp_path)


def put_elsewhere(folder: Path, name: str, version: str) -> None:
    """Have a version served, as another process does."""
    Roster(folder).put(name, version)


def test_at_first_nothing_is_served(roster: Roster) -> None:
    assert roster.read() == {}


def test_of_a_model_the_last_version_counts(roster: Roster) -> None:
    for name, version in (("one", "1"), ("two", "7"), ("one", "12")):
        roster.put(name, version)
    assert roster.read() == {"one": "12", "two": "7"}
    roster.remove("one")
    assert roster.read() == {"two": "7"}
    roster.remove("one")
    assert roster.read() == {"two": "7"}


def test_the_token_is_another_after_every_change_and_after_nothing_else(roster: Roster, tmp_path: Path) -> None:
    tokens = [roster.token]
    for version in ("1", "1", "2"):
        roster.put("one", version)
        tokens.append(roster.token)
    roster.remove("one")
    tokens.append(roster.token)
    assert len(set(tokens)) == 5
    Roster(tmp_path)
    roster.read()
    assert roster.token == tokens[-1]


def test_another_process_sees_a_change_by_its_token(roster: Roster, tmp_path: Path) -> None:
    token = roster.token
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(put_elsewhere, tmp_path, "one", "1").result()
    assert roster.token != token
    assert roster.read() == {"one": "1"}


def test_a_file_that_is_not_yet_whole_is_not_read(roster: Roster, tmp_path: Path) -> None:
    roster.put("one", "1")
    (tmp_path / "models" / ".two.4711").write_text("")
    assert roster.read() == {"one": "1"}


def test_what_is_read_meanwhile_is_always_whole(roster: Roster, tmp_path: Path) -> None:
    def change() -> None:
        other = Roster(tmp_path)
        for number in range(500):
            other.put("one", str(10**20 + number))
            if number % 5 == 0:
                other.remove("one")

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        seen = set()
        while not changing.done():
            seen |= set(roster.read().values())
        changing.result()
    assert all(len(version) == 21 for version in seen)
    assert roster.read() == {"one": str(10**20 + 499)}
