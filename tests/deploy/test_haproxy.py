"""The configuration of HAProxy and its containers agree with the service. `make test-scale` runs HAProxy itself."""

import re
from pathlib import Path

import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
HAPROXY = ROOT / "deploy" / "haproxy"
CONFIGURATION = (HAPROXY / "haproxy.cfg").read_text(encoding="utf-8")
BACKEND = (HAPROXY / "backend.cfg").read_text(encoding="utf-8")
DOCKERFILE = (HAPROXY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
UNITS = {"ms": 1e-3, "s": 1.0}


def seconds(name: str) -> float:
    """The value of a time in the configuration."""
    found = re.search(rf"\b{re.escape(name)} (\d+)(ms|s)\b", CONFIGURATION)
    assert found is not None, name
    return int(found[1]) * UNITS[found[2]]


def default(setting: str) -> float:
    """The default of a setting of the service."""
    value: float = Settings.model_fields[setting].default
    return value


def test_the_side_that_sends_requests_closes_idle_connections_first() -> None:
    assert seconds("timeout http-keep-alive") < default("keep_alive_seconds")


def test_haproxy_notices_a_replica_that_stops_before_the_replica_stops_listening() -> None:
    failures = re.search(r"\bfall (\d+)", CONFIGURATION)
    assert failures is not None
    assert int(failures[1]) * seconds("inter") < default("grace_seconds")


def test_a_client_has_as_long_for_a_request_as_the_service_gives_it() -> None:
    assert seconds("timeout http-request") == default("client_seconds")


def test_only_a_request_that_no_replica_has_heard_is_sent_again() -> None:
    assert re.findall(r"^\s*retry-on (.*)$", CONFIGURATION, re.MULTILINE) == ["conn-failure"]


def test_the_replicas_are_those_of_compose() -> None:
    (host, port) = re.findall(r"^\s*server-template \w+ \d+ (\w+):(\d+) ", BACKEND, re.MULTILINE)[0]
    assert any(published.endswith(f":{port}") for published in COMPOSE["services"][host]["ports"])
    assert COMPOSE["services"]["balancer"]["depends_on"] == [host]


def test_the_balancer_is_confined_like_the_service_and_listens_on_this_machine_only() -> None:
    balancer, service = COMPOSE["services"]["balancer"], COMPOSE["services"]["service"]
    for key in ("read_only", "tmpfs", "cap_drop", "security_opt", "restart"):
        assert balancer[key] == service[key]
    (published,) = balancer["ports"]
    assert re.fullmatch(r"127\.0\.0\.1:\$\{BALANCER_PORT:-\d+\}:8080", published)
    assert re.search(r"^ENV BALANCER_ADDRESS=:8080 ", DOCKERFILE, re.MULTILINE)
    assert int(balancer["stop_grace_period"].removesuffix("s")) > seconds("hard-stop-after")
