"""Environment variables as people, Docker and Kubernetes set them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.environment import variables
from service.settings import Settings, describe

ports = st.integers(1, 65_535)
values = st.text(st.characters(exclude_characters="\0\"':"), min_size=1, max_size=20).map(str.strip).filter(bool)


def service_links(service: str, port: int, port_name: str) -> dict[str, str]:
    """The variables that Kubernetes sets in each container for a Service (documentation, "Discovering services")."""
    name, address = service.upper().replace("-", "_"), "10.96.0.17"
    links = {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_{port_name.upper()}": str(port),
        f"{name}_PORT": f"tcp://{address}:{port}",
    }
    for protocol in ("tcp", "udp", "sctp"):
        prefix = f"{name}_PORT_{port}_{protocol.upper()}"
        links |= {
            prefix: f"{protocol}://{address}:{port}",
            f"{prefix}_PROTO": protocol,
            f"{prefix}_PORT": str(port),
            f"{prefix}_ADDR": address,
        }
    return links


@given(
    suffix=st.from_regex(r"(-[a-z0-9]([a-z0-9-]{0,15}[a-z0-9])?)?", fullmatch=True),
    port=ports,
    port_name=st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
)
def test_the_variables_of_services_in_kubernetes_are_no_settings(suffix: str, port: int, port_name: str) -> None:
    assert variables(service_links(f"odenet{suffix}", port, port_name)) == {}


def test_a_setting_of_the_pod_replaces_the_variable_of_kubernetes() -> None:
    links = service_links("odenet", 8000, "http")
    assert variables(links | {"ODENET_PORT": "8001"}) == {"ODENET_PORT": "8001"}


@given(name=st.sampled_from(sorted(Settings.model_fields)), value=values)
def test_every_setting_is_kept(name: str, value: str) -> None:
    variable = f"ODENET_{name.upper()}"
    for each in (value, f'"{value}"', f"'{value}'", f" {value}\r"):
        assert variables({variable: each, "OTHER": "1"}) == {variable: value}
        assert variables({variable.lower(): each}) == {variable: value}


@pytest.mark.parametrize("value", ["", '""', "''"])
def test_an_empty_variable_counts_as_missing(value: str) -> None:
    assert variables({"ODENET_PORT": value}) == {}


@pytest.mark.parametrize("value", ['"8000', "8000'", "\"8000'", '"', "'"])
def test_quotes_that_do_not_belong_together_are_kept(value: str) -> None:
    assert variables({"ODENET_PORT": value}) == {"ODENET_PORT": value}


def test_the_settings_are_read_from_quoted_values_and_despite_the_variables_of_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (service_links("odenet", 80, "http") | service_links("odenet-metrics", 9090, "web")).items():
        monkeypatch.setenv(name, value)
    assert Settings().port == 8000
    monkeypatch.setenv("ODENET_PORT", '"8001"')
    monkeypatch.setenv("ODENET_CORS_ORIGINS", "'https://a.example,https://b.example'")
    settings = Settings()
    assert (settings.port, settings.cors_origins) == (8001, ("https://a.example", "https://b.example"))


@pytest.mark.parametrize("value", ["INFO", "Info", "'info'"])
def test_the_case_of_a_choice_does_not_matter(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ODENET_LOG_LEVEL", value)
    monkeypatch.setenv("ODENET_LOG_FORMAT", "JSON")
    monkeypatch.setenv("ODENET_DEVICE", "CPU")
    settings = Settings()
    assert (settings.log_level, settings.log_format, settings.device) == ("info", "json", "cpu")


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", '"80'), ("PORT", "80 000"), ("LOG_LEVEL", "loud"), ("FLOOR", "2")]
)
def test_a_value_that_is_refused_is_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ODENET_{name}", value)
    with pytest.raises(ValidationError) as error:
        Settings()
    assert describe(error.value).startswith(f"{name.lower()}: Input should be ")
    assert describe(error.value).endswith(f"; not {value}")


def test_a_refused_value_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODENET_CORS_ORIGINS", "example.org")
    with pytest.raises(ValidationError) as error:
        Settings()
    assert describe(error.value).count("not example.org") == 1
