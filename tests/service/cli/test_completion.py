"""The script that completes arguments in a shell."""

import shutil
import subprocess

import pytest

from service.api.query import QueryFields
from service.cli.completion import script
from service.settings import Settings

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash runs the script")


def completions(*words: str) -> list[str]:
    """How bash completes the last word."""
    line = " ".join(f"'{word}'" for word in ("odenet", *words))
    asked = f"COMP_WORDS=({line}); _odenet odenet '{words[-1]}' '{('odenet', *words)[-2]}'; echo \"${{COMPREPLY[@]}}\""
    done = subprocess.run([BASH or "", "-c", f"{script()}\n{asked}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pre"], ["predict"]),
        (["--log"], ["--log-level", "--log-format"]),
        (["--log-level", ""], ["debug", "info", "warning", "error"]),
        (["predict", "--tol"], ["--tolerance"]),
        (["predict", "--method", "d"], ["dopri5"]),
        (["predict", "seven.png", "--priority", ""], ["high", "normal", "low"]),
        (["config", "--por"], ["--port"]),
        (["serve", "--por"], ["--port"]),
        (["key", "alice", "--scopes", "a"], ["admin"]),
        (["predict", "seven"], []),
    ],
)
def test_commands_flags_and_choices_are_completed(words: list[str], expected: list[str]) -> None:
    assert completions(*words) == expected


def test_every_field_of_a_request_and_every_setting_is_a_flag() -> None:
    flags = completions("predict", "--"), completions("--")
    for fields, found in zip((QueryFields.model_fields, Settings.model_fields), flags, strict=True):
        assert {f"--{name.replace('_', '-')}" for name in fields} <= set(found)
