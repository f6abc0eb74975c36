"""The commands `config` and `key`, run from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service import VERSION
from service.security.keys import Keys, Scope, make_key
from service.settings import Settings
from tests.service.cli.command_line import run_with_closed_output
from tests.serving import ROOT, command


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command(arguments, environment)


def test_config_prints_the_settings_and_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = run("key", "alice", "--scopes", "predict,metrics", "--requests-per-minute", "60")
    path.write_text(made.stdout)
    printed = run("config", "--api-key-file", str(path), "--host", "0.0.0.0", ODENET_PORT="81", ODENET_WORKERS="3")  # noqa: S104
    assert printed.returncode == 0, printed.stderr
    config = json.loads(printed.stdout)
    assert config["settings"].keys() == Settings.model_fields.keys()
    assert config["settings"]["port"] == 81
    assert config["set"] == ["api_key_file", "host", "port", "workers"]
    assert config["plan"]["url"] == "http://0.0.0.0:81"
    assert config["plan"]["processes"] == 3
    (key,) = config["plan"]["keys"]
    assert key == {"name": "alice", "scopes": key["scopes"], "requests_per_minute": 60}
    assert set(key["scopes"]) == {"predict", "metrics"}


def test_a_new_key_is_printed_once_and_its_entry_holds_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = run("key", "alice")
    assert made.returncode == 0
    path.write_text(made.stdout)
    secret = made.stderr.split()[-1]
    assert secret not in made.stdout
    key = Keys(path).find(secret)
    assert key is not None
    assert (key.name, key.scopes) == ("alice", frozenset({Scope.predict}))


WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    # case: (flags, environment, a part of the error)
    "a variable that is not a setting": (
        [],
        {"ODENET_PROT": "1"},
        "ODENET_PROT is not a setting; the nearest is ODENET_PORT",
    ),
    "a value out of range": ([], {"ODENET_CLIENT_SECONDS": "0"}, "client_seconds: Input should be greater than 0"),
    "an address without a decision about access": (
        ["--host", "0.0.0.0"],  # noqa: S104
        {},
        "--api-key-file FILE to require API keys, or --no-auth",
    ),
    "a name without a decision about access": (["--host", "example.org"], {}, "other machines may reach example.org"),
    "both decisions about access": (
        ["--no-auth", "--api-key-file", "x"],
        {},
        "no_auth: cannot be combined with api_key_file",
    ),
    "a certificate without a key": (["--tls-certificate", "x"], {}, "tls_certificate, tls_key: set both or neither"),
    "an origin that is a page": (["--cors-origins", "https://a.example/page"], {}, "not https://a.example/page"),
    "a missing file of keys": (["--api-key-file", "/none"], {}, "api_key_file: /none: No such file"),
}


@pytest.mark.parametrize(("flags", "environment", "text"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_refused_with_the_reason(flags: list[str], environment: dict[str, str], text: str) -> None:
    ended = run("config", *flags, **environment)
    assert ended.returncode != 0
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_on_a_public_address_the_service_does_not_start_without_a_decision_about_access() -> None:
    ended = run("--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: settings: host: other machines may reach 0.0.0.0; "
        "set --api-key-file FILE to require API keys, or --no-auth to let everybody use the service\n"
    )


@pytest.mark.parametrize("flags", [["--name", "a b"], ["a/b"], ["alice", "--scopes", "root"], []])
def test_wrong_arguments_make_no_key(flags: list[str]) -> None:
    ended = run("key", *flags)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr


def test_a_key_with_the_name_of_another_is_not_appended_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    for _ in range(2):
        with path.open("a") as file:
            words = [sys.executable, "-m", "service", "key", "alice"]
            done = subprocess.run(words, cwd=ROOT, env={}, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: name: the file already has a key with the name alice; choose another name\n"
    assert [key.name for key in Keys(path)()] == ["alice"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_wrong_file_of_keys_is_reported_once_before_the_service_listens(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "keys.toml"
    entry = make_key("alice", frozenset(Scope))[1]
    path.write_text(entry + make_key("alice", frozenset(Scope))[1])
    ended = run("--port", "0", "--api-key-file", str(path), ODENET_WORKERS=workers)
    assert ended.returncode == 3
    assert ended.stderr.count("2 keys have the name alice; remove or rename all but one") == 1
    assert "running on" not in ended.stderr


@pytest.mark.parametrize("words", [["config"], ["--help"], ["predict", "--help"], ["key", "--help"]])
def test_a_closed_output_is_no_error(words: list[str]) -> None:
    assert run_with_closed_output(*words) == (141, b"")


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"odenet {VERSION}\n"


def test_help_names_the_commands_and_the_settings() -> None:
    text = run("--help").stdout
    for word in ("predict", "config", "key", "examples:", "--version", "--port", "--api-key-file"):
        assert word in text


def test_a_word_that_is_no_command_is_refused_with_the_commands() -> None:
    ended = run("fly")
    assert ended.returncode == 1
    assert ended.stderr == "error: fly is no command; the commands are serve, predict, config, key, completion\n"


@pytest.mark.parametrize(
    ("words", "wrong"), [(["--bogus"], "--bogus"), (["--no-auth=false"], "--no-auth"), (["key"], "NAME")]
)
def test_a_wrong_command_line_ends_with_status_2_and_names_the_argument(words: list[str], wrong: str) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert wrong in ended.stderr.splitlines()[-1]
