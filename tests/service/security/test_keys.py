"""The file of API keys: its content, and when it is read."""

import logging
import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.security.keys import LARGEST_FILE, Key, Keys, Scope, make_key, read_keys

HASH = sha256(b"a key").hexdigest()


def entry(**fields: str) -> str:
    """An entry of the file: a valid one with some fields changed."""
    values = {"name": '"alice"', "sha256": f'"{HASH}"', "scopes": '["predict"]', **fields}
    return "\n".join(["[[key]]", *(f"{name} = {value}" for name, value in values.items() if value), ""])


WRONG = {
    # case: (the file, a part of the error)
    "no TOML": ("[[key", "Expected"),
    "another table": ("[keys]\n", "keys: Extra inputs are not permitted"),
    "no hash": (entry(sha256=""), "key.0.sha256: Field required"),
    "a hash in capitals": (entry(sha256=f'"{HASH.upper()}"'), "key.0.sha256"),
    "the key instead of its hash": (entry(sha256='"odenet_secret"'), "key.0.sha256"),
    "no scope": (entry(scopes="[]"), "key.0.scopes"),
    "an unknown scope": (entry(scopes='["root"]'), "'predict', 'admin' or 'metrics'"),
    "a name of two lines": (entry(name='"a\\nb"'), "key.0.name"),
    "a name that is a path": (entry(name='"../a"'), "key.0.name"),
    "no rate": (entry(requests_per_minute="0"), "greater than or equal to 1"),
    "a misspelt field": (entry(scope='["predict"]'), "key.0.scope: Extra"),
    "a name twice": (
        entry() + entry(sha256=f'"{sha256(b"b").hexdigest()}"'),
        "2 keys have the name alice; remove or rename all but one",
    ),
    "a hash twice": (entry() + entry(name='"bob"'), "two keys have the same hash"),
    "too deep": ("a = " + "[" * 10_000, ""),
    "too long": ("#" * (LARGEST_FILE + 1), "larger than 1,048,576 bytes"),
}


@pytest.mark.parametrize(("content", "text"), WRONG.values(), ids=WRONG.keys())
def test_an_invalid_file_is_refused_with_the_reason_and_without_hashes(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match="api_key_file") as error:
        read_keys(path)
    assert text in str(error.value)
    assert str(path) in str(error.value)
    assert HASH not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml: No such file"):
        Keys(tmp_path / "none.toml")


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    try:
        keys = read_keys(path)
    except ValueError:
        return
    assert all(key.scopes for key in keys)


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
scopes = st.frozensets(st.sampled_from(Scope), min_size=1)
rates = st.none() | st.integers(1, 10_000)


@given(owners=st.dictionaries(names, st.tuples(scopes, rates), max_size=4))
def test_new_keys_are_found_only_by_their_secrets(
    tmp_path_factory: pytest.TempPathFactory, owners: dict[str, tuple[frozenset[Scope], int | None]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "made.toml"
    made = {name: make_key(name, *fields) for name, fields in owners.items()}
    path.write_text("".join(entry for _, entry in made.values()))
    keys = Keys(path)
    for name, (secret, _) in made.items():
        key = keys.find(secret)
        assert key is not None
        assert (key.name, key.scopes, key.requests_per_minute) == (name, *owners[name])
        assert secret not in path.read_text()
        assert keys.find(secret[:-1]) is keys.find(secret + " ") is keys.find(key.sha256) is None
    assert keys.find("") is keys.find("odenet_") is None


def test_every_new_key_is_different() -> None:
    assert len({make_key("a", frozenset({Scope.predict}))[0] for _ in range(100)}) == 100


@pytest.fixture
def alice(tmp_path: Path) -> tuple[Path, str]:
    """A file with Alice's key, and the key."""
    secret, content = make_key("alice", frozenset({Scope.predict}))
    (tmp_path / "keys.toml").write_text(content)
    return tmp_path / "keys.toml", secret


def test_a_key_is_revoked_and_another_key_is_issued_without_a_restart(alice: tuple[Path, str]) -> None:
    path, secret = alice
    keys = Keys(path)
    assert keys.find(secret)
    bobs_secret, content = make_key("bob", frozenset({Scope.admin}))
    path.write_text(content)
    assert keys.find(secret) is None
    found = keys.find(bobs_secret)
    assert found is not None
    assert found.name == "bob"


def test_a_file_that_replaces_another_of_the_same_size_and_time_is_read(alice: tuple[Path, str]) -> None:
    path, secret = alice
    keys, status = Keys(path), path.stat()
    replaced = path.with_suffix(".new")
    replaced.write_text(make_key("alicf", frozenset({Scope.predict}))[1])
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert replaced.stat().st_size == status.st_size
    replaced.replace(path)
    assert keys.find(secret) is None


@pytest.mark.parametrize("content", ["[[key", None], ids=["wrong", "gone"])
def test_after_an_invalid_change_the_previous_keys_stay_valid(
    alice: tuple[Path, str], content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path, secret = alice
    keys = Keys(path)
    with caplog.at_level(logging.INFO):
        path.unlink() if content is None else path.write_text(content)
        assert all(keys.find(secret) for _ in range(3))
        assert [record.levelname for record in caplog.records] == ["ERROR"], "the error is logged once"
        assert "the API keys are unchanged" in caplog.text
        path.write_text("")
        assert keys.find(secret) is None, "an empty file revokes all keys"
        assert "the valid keys are: none" in caplog.text


def test_the_first_and_the_last_of_many_keys_are_found(alice: tuple[Path, str]) -> None:
    path, secret = alice
    last, content = make_key("zoe", frozenset({Scope.predict}))
    others = "".join(make_key(f"n{number}", frozenset({Scope.metrics}))[1] for number in range(50))
    path.write_text(path.read_text() + others + content)
    keys = Keys(path)
    assert [key.name for key in map(keys.find, (secret, last)) if isinstance(key, Key)] == ["alice", "zoe"]


def test_the_file_may_be_read_only(alice: tuple[Path, str]) -> None:
    path, secret = alice
    path.chmod(stat.S_IRUSR)
    assert Keys(path).find(secret)
