"""The commands beside that which serves, as one types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.security.keys import Keys, Scope
from service.settings import Settings
from tests.serving import ROOT
from tests.waiting import HANG


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )


def test_config_prints_what_would_be_served_by_and_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made = run("key", "alice", "--scopes", "predict,metrics", "--requests-per-minute", "60")
    path.write_text(made.stdout)
    printed = run("config", "--api-key-file", str(path), "--host", "0.0.0.0", ODENET_PORT="81", ODENET_WORKERS="3")  # noqa: S104
    assert printed.returncode == 0, printed.stderr
    told = json.loads(printed.stdout)
    assert told["settings"].keys() == Settings.model_fields.keys()
    assert told["settings"]["port"] == 81
    assert told["set"] == ["api_key_file", "host", "port", "workers"]
    assert told["plan"]["url"] == "http://0.0.0.0:81"
    assert told["plan"]["processes"] == 3
    (key,) = told["plan"]["keys"]
    assert key == {"name": "alice", "scopes": key["scopes"], "requests_per_minute": 60}
    assert set(key["scopes"]) == {"predict", "metrics"}


def test_a_key_is_told_once_and_its_file_holds_the_hash(tmp_path: Path) -> None:
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
    # what: (flags, environment, what is said)
    "a variable that is no setting": (
        [],
        {"ODENET_PROT": "1"},
        "ODENET_PROT is no setting; the nearest is ODENET_PORT",
    ),
    "a value out of range": ([], {"ODENET_CLIENT_SECONDS": "0"}, "client_seconds: Input should be greater than 0"),
    "a network without a decision": (["--host", "0.0.0.0"], {}, "--api-key-file FILE, or by --no-auth"),  # noqa: S104
    "a name without a decision": (["--host", "example.org"], {}, "others may reach example.org"),
    "both decisions": (["--no-auth", "--api-key-file", "x"], {}, "no_auth: says that anybody may ask"),
    "a certificate without a key": (["--tls-certificate", "x"], {}, "tls_certificate, tls_key: one is of no use"),
    "an origin that is a page": (["--cors-origins", "https://a.example/page"], {}, "not https://a.example/page"),
    "a file of keys that is not there": (["--api-key-file", "/none"], {}, "api_key_file: /none: No such file"),
}


@pytest.mark.parametrize(("flags", "environment", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_a_line(flags: list[str], environment: dict[str, str], told: str) -> None:
    ended = run("config", *flags, **environment)
    assert ended.returncode != 0
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_the_service_does_not_start_where_others_may_reach_it_and_nothing_is_decided() -> None:
    ended = run("--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: settings: host: others may reach 0.0.0.0; "
        "say who may ask by --api-key-file FILE, or by --no-auth that anybody may\n"
    )


@pytest.mark.parametrize("flags", [["--name", "a b"], ["a/b"], ["alice", "--scopes", "root"], []])
def test_no_key_is_made_of_what_is_wrong(flags: list[str]) -> None:
    ended = run("key", *flags)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
