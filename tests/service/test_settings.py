"""The sources of settings, and the values that are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from service.settings import Settings, describe


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ODENET_{name.upper()}", raising=False)
    return tmp_path


def test_by_default_the_service_listens_on_loopback() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "odenet-mnist")


def test_a_flag_overrides_the_environment_and_the_environment_overrides_the_file(
    somewhere_else: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (somewhere_else / ".env").write_text("ODENET_PORT=1\nODENET_THREADS=2\nODENET_MAX_IMAGES=3\nSOMEBODY_ELSES=4\n")
    monkeypatch.setenv("ODENET_PORT", "10")
    monkeypatch.setenv("ODENET_THREADS", "20")
    settings = CliApp.run(Settings, cli_args=["--port", "100"])
    assert (settings.port, settings.threads, settings.max_images) == (100, 20, 3)


def test_a_misspelt_setting_in_the_file_is_refused_with_its_name(somewhere_else: Path) -> None:
    (somewhere_else / ".env").write_text("ODENET_PROT=1\n")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_a_misspelt_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_QUEUE_SECOND", "1")
    monkeypatch.setenv("SOMEBODY_ELSES", "2")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert describe(error.value) == "ODENET_QUEUE_SECOND is not a setting; the nearest is ODENET_QUEUE_SECONDS"


def test_the_nearest_name_may_be_the_variable_of_the_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_KEYS", "1")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert describe(error.value) == "ODENET_KEYS is not a setting; the nearest is ODENET_KEY"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_no_key_is_needed(host: str) -> None:
    assert Settings(host=host).api_key_file is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "example.org", ""])  # noqa: S104
def test_on_other_addresses_a_key_file_or_no_auth_must_be_set(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"--api-key-file FILE to require API keys, or --no-auth"):
        Settings(host=host)
    assert Settings(host=host, no_auth=True).host == host
    assert Settings(host=host, api_key_file=tmp_path).host == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "http"),
        ("THREADS", "0"),
        ("WORKERS", "0"),
        ("QUEUE_ROWS", "0"),
        ("FLOOR", "1.1"),
        ("MAX_PIXELS", "783"),
        ("BACKEND", "jax"),
        ("DEVICE", "tpu"),
        ("CLIENT_SECONDS", "0"),
        ("CORS_ORIGINS", "example.org"),
        ("WATCH_SECONDS", "-1"),
        ("WATCH_SECONDS", "86401"),
        ("GRACE_SECONDS", "-0.5"),
        ("GRACE_SECONDS", "3601"),
        ("SHUTDOWN_SECONDS", "3601"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ODENET_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
@pytest.mark.parametrize("value", ["inf", "nan", "1e400"])
def test_a_number_that_is_not_finite_is_refused_with_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ODENET_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_with_cuda_only_one_thread_may_compute() -> None:
    assert Settings(device="cuda").engine_threads == 1
    with pytest.raises(ValidationError, match="threads: must be 1 with cuda"):
        Settings(device="cuda", threads=2)
