"""What the processes that serve at one address agree on."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from service.hosting.desired_state import DesiredState, DesiredVersion


@pytest.fixture
def desired(tmp_path: Path) -> DesiredState:
    return DesiredState.shared(tmp_path)


def put_elsewhere(folder: Path, name: str, version: str) -> None:
    """Have a version served, as another process does."""
    DesiredState.shared(folder).put(name, version)


def test_at_first_nothing_is_served(desired: DesiredState) -> None:
    assert desired.read() == {}


def test_of_a_model_the_last_version_counts(desired: DesiredState) -> None:
    for name, version in (("one", "1"), ("two", "7"), ("one", "12")):
        desired.put(name, version)
    assert desired.read() == {"one": DesiredVersion("12", at_once=False), "two": DesiredVersion("7", at_once=False)}
    desired.unload("one")
    assert desired.read() == {"two": DesiredVersion("7", at_once=False)}
    desired.unload("one")
    assert desired.read() == {"two": DesiredVersion("7", at_once=False)}


def test_the_token_is_another_after_every_change_and_after_nothing_else(desired: DesiredState, tmp_path: Path) -> None:
    tokens = [desired.token]
    for version in ("1", "1", "2"):
        desired.put("one", version)
        tokens.append(desired.token)
    desired.unload("one")
    tokens.append(desired.token)
    assert len(set(tokens)) == 5
    DesiredState.shared(tmp_path)
    desired.read()
    assert desired.token == tokens[-1]


def test_another_process_sees_a_change_by_its_token(desired: DesiredState, tmp_path: Path) -> None:
    token = desired.token
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(put_elsewhere, tmp_path, "one", "1").result()
    assert desired.token != token
    assert desired.read() == {"one": DesiredVersion("1", at_once=False)}


def test_a_file_that_is_not_yet_whole_is_not_read(desired: DesiredState, tmp_path: Path) -> None:
    desired.put("one", "1")
    (tmp_path / "models" / ".two.4711").write_text("")
    assert desired.read() == {"one": DesiredVersion("1", at_once=False)}


def test_what_is_read_meanwhile_is_always_whole(desired: DesiredState, tmp_path: Path) -> None:
    def change() -> None:
        other = DesiredState.shared(tmp_path)
        for number in range(500):
            other.put("one", str(10**20 + number))
            if number % 5 == 0:
                other.unload("one")

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        seen = set()
        while not changing.done():
            seen |= {order.version for order in desired.read().values()}
        changing.result()
    assert all(len(version) == 21 for version in seen)
    assert desired.read() == {"one": DesiredVersion(str(10**20 + 499), at_once=False)}


@pytest.fixture(params=["alone", "shared"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> DesiredState:
    """The desired of a process that serves alone, and that of several."""
    return DesiredState.alone() if request.param == "alone" else DesiredState.shared(tmp_path)


def test_what_a_caller_has_unloaded_is_told_from_what_was_never_served(either: DesiredState) -> None:
    either.put("one", "1")
    either.unload("one")
    assert (either.read(), either.unloaded) == ({}, {"one"})
    either.put("one", "2", at_once=True)
    assert (either.read(), either.unloaded) == ({"one": DesiredVersion("2", at_once=True)}, set())


def test_refusals_are_remembered_until_they_are_forgiven_and_are_no_change(either: DesiredState) -> None:
    token = either.token
    either.refuse("one@home", "3", "altered")
    either.refuse("two", "1", "no graph\nat all")
    assert either.refusals == {("one@home", "3"): "altered", ("two", "1"): "no graph\nat all"}
    for _ in range(2):
        either.forgive("two", "1")
    assert either.refusals == {("one@home", "3"): "altered"}
    assert either.token == token
