"""The desired state that the worker processes share."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from service.hosting.desired_state import DesiredState, DesiredVersion


@pytest.fixture
def desired(tmp_path: Path) -> DesiredState:
    return DesiredState.shared(tmp_path)


def put_elsewhere(folder: Path, name: str, version: str) -> None:
    """Put a version, like another process."""
    DesiredState.shared(folder).put(name, version)


def test_at_first_no_model_is_desired(desired: DesiredState) -> None:
    assert desired.read() == {}


def test_the_last_version_of_a_model_counts(desired: DesiredState) -> None:
    for name, version in (("one", "1"), ("two", "7"), ("one", "12")):
        desired.put(name, version)
    assert desired.read() == {"one": DesiredVersion("12", at_once=False), "two": DesiredVersion("7", at_once=False)}
    desired.unload("one")
    assert desired.read() == {"two": DesiredVersion("7", at_once=False)}
    desired.unload("one")
    assert desired.read() == {"two": DesiredVersion("7", at_once=False)}


def test_the_token_changes_only_after_a_change(desired: DesiredState, tmp_path: Path) -> None:
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


def test_the_token_shows_a_change_to_another_process(desired: DesiredState, tmp_path: Path) -> None:
    token = desired.token
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(put_elsewhere, tmp_path, "one", "1").result()
    assert desired.token != token
    assert desired.read() == {"one": DesiredVersion("1", at_once=False)}


def test_a_partly_written_file_is_not_read(desired: DesiredState, tmp_path: Path) -> None:
    desired.put("one", "1")
    (tmp_path / "models" / ".two.4711").write_text("")
    assert desired.read() == {"one": DesiredVersion("1", at_once=False)}


def test_a_read_during_a_change_gets_whole_entries(desired: DesiredState, tmp_path: Path) -> None:
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
            seen |= {desired_version.version for desired_version in desired.read().values()}
        changing.result()
    assert all(len(version) == 21 for version in seen)
    assert desired.read() == {"one": DesiredVersion(str(10**20 + 499), at_once=False)}


@pytest.fixture(params=["alone", "shared"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> DesiredState:
    """The desired state of a process that serves alone, and of several processes."""
    return DesiredState.alone() if request.param == "alone" else DesiredState.shared(tmp_path)


def test_an_unloaded_model_differs_from_a_model_that_was_never_served(either: DesiredState) -> None:
    either.put("one", "1")
    either.unload("one")
    assert (either.read(), either.unloaded) == ({}, {"one"})
    either.put("one", "2", at_once=True)
    assert (either.read(), either.unloaded) == ({"one": DesiredVersion("2", at_once=True)}, set())


def test_refusals_are_kept_until_they_are_cleared_and_do_not_change_the_token(either: DesiredState) -> None:
    token = either.token
    either.refuse("one@home", "3", "altered")
    either.refuse("two", "1", "no graph\nat all")
    assert either.refusals == {("one@home", "3"): "altered", ("two", "1"): "no graph\nat all"}
    for _ in range(2):
        either.clear_refusal("two", "1")
    assert either.refusals == {("one@home", "3"): "altered"}
    assert either.token == token
