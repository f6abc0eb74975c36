"""What the processes that serve at one address agree on."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from service.roster import Order, Roster


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    return Roster.shared(tmp_path)


def put_elsewhere(folder: Path, name: str, version: str) -> None:
    """Have a version served, as another process does."""
    Roster.shared(folder).put(name, version)


def test_at_first_nothing_is_served(roster: Roster) -> None:
    assert roster.read() == {}


def test_of_a_model_the_last_version_counts(roster: Roster) -> None:
    for name, version in (("one", "1"), ("two", "7"), ("one", "12")):
        roster.put(name, version)
    assert roster.read() == {"one": Order("12", at_once=False), "two": Order("7", at_once=False)}
    roster.unload("one")
    assert roster.read() == {"two": Order("7", at_once=False)}
    roster.unload("one")
    assert roster.read() == {"two": Order("7", at_once=False)}


def test_the_token_is_another_after_every_change_and_after_nothing_else(roster: Roster, tmp_path: Path) -> None:
    tokens = [roster.token]
    for version in ("1", "1", "2"):
        roster.put("one", version)
        tokens.append(roster.token)
    roster.unload("one")
    tokens.append(roster.token)
    assert len(set(tokens)) == 5
    Roster.shared(tmp_path)
    roster.read()
    assert roster.token == tokens[-1]


def test_another_process_sees_a_change_by_its_token(roster: Roster, tmp_path: Path) -> None:
    token = roster.token
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(put_elsewhere, tmp_path, "one", "1").result()
    assert roster.token != token
    assert roster.read() == {"one": Order("1", at_once=False)}


def test_a_file_that_is_not_yet_whole_is_not_read(roster: Roster, tmp_path: Path) -> None:
    roster.put("one", "1")
    (tmp_path / "models" / ".two.4711").write_text("")
    assert roster.read() == {"one": Order("1", at_once=False)}


def test_what_is_read_meanwhile_is_always_whole(roster: Roster, tmp_path: Path) -> None:
    def change() -> None:
        other = Roster.shared(tmp_path)
        for number in range(500):
            other.put("one", str(10**20 + number))
            if number % 5 == 0:
                other.unload("one")

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        seen = set()
        while not changing.done():
            seen |= {order.version for order in roster.read().values()}
        changing.result()
    assert all(len(version) == 21 for version in seen)
    assert roster.read() == {"one": Order(str(10**20 + 499), at_once=False)}


@pytest.fixture(params=["alone", "shared"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Roster:
    """The roster of a process that serves alone, and that of several."""
    return Roster.alone() if request.param == "alone" else Roster.shared(tmp_path)


def test_what_a_caller_has_unloaded_is_told_from_what_was_never_served(either: Roster) -> None:
    either.put("one", "1")
    either.unload("one")
    assert (either.read(), either.unloaded) == ({}, {"one"})
    either.put("one", "2", at_once=True)
    assert (either.read(), either.unloaded) == ({"one": Order("2", at_once=True)}, set())


def test_refusals_are_remembered_until_they_are_forgiven_and_are_no_change(either: Roster) -> None:
    token = either.token
    either.refuse("one@home", "3", "altered")
    either.refuse("two", "1", "no graph\nat all")
    assert either.refusals == {("one@home", "3"): "altered", ("two", "1"): "no graph\nat all"}
    for _ in range(2):
        either.forgive("two", "1")
    assert either.refusals == {("one@home", "3"): "altered"}
    assert either.token == token
