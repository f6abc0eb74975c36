"""What needs which key: the real service, with keys."""

import base64
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from service.security.guard import OPEN, credentials, needed
from service.security.keys import Scope, make_key
from tests.digits import seven
from tests.serving import TWO_MODELS, Running, running

pytestmark = pytest.mark.system

PIXELS = {"content-type": "application/octet-stream"}


@dataclass
class Guarded:
    """A service with keys, by their names."""

    running: Running
    client: httpx.Client
    keys: dict[str, str]
    path: Path

    def ask(self, method: str, path: str, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {self.keys.get(key, key)}"}
        return self.client.request(method, path, headers=headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    rates = {"slow": 2}
    scopes = {name: frozenset({Scope(name)}) for name in ("predict", "admin", "metrics")}
    scopes |= {"all": frozenset(Scope), "slow": frozenset({Scope.predict})}
    made = {name: make_key(name, told, rates.get(name)) for name, told in scopes.items()}
    path.write_text("".join(entry for _, entry in made.values()))
    with running("--api-key-file", str(path), "--model-control", "--log-format", "json", models=TWO_MODELS) as service:
        with service.client() as client:
            yield Guarded(service, client, {name: secret for name, (secret, _) in made.items()}, path)
        log = "".join(service.log)
        assert '"key": "all"' in log, "whose key it was is told"
        assert not any(secret in log for secret, _ in made.values()), "but not the key"


def routes(guarded: Guarded) -> list[tuple[str, str]]:
    """Every route of the service that needs a key, those that the document leaves out among them."""
    document = guarded.ask("GET", "/openapi.json", "all").json()
    told = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(told) > 15
    filled = [(method, re.sub(r"\{\w+\}", "mlp", path)) for method, path in told if path not in OPEN]
    more = ["/", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/nowhere", "/v2/nowhere"]
    return filled + [("GET", path) for path in more]


def test_every_route_but_health_needs_a_key(guarded: Guarded) -> None:
    for method, path in routes(guarded):
        for key in (None, "odenet_wrong"):
            answer = guarded.ask(method, path, key)
            assert answer.status_code == 401, f"{method} {path} with {key}"
            assert [challenge.split()[0] for challenge in answer.headers.get_list("www-authenticate")] == [
                "Bearer",
                "Basic",
            ]
            told = answer.json()
            assert ("error" in told) == path.startswith("/v2"), "each protocol has its form"
            assert "odenet_wrong" not in answer.text


def test_health_needs_none(guarded: Guarded) -> None:
    for path in OPEN:
        assert guarded.ask("GET", path).status_code == 200


def test_every_route_needs_its_scope(guarded: Guarded) -> None:
    for method, path in routes(guarded):
        for scope in Scope:
            answer = guarded.ask(method, path, scope.value)
            assert (answer.status_code == 403) == (scope is not needed(path)), f"{method} {path} with {scope}"
            if answer.status_code == 403:
                assert f"the key {scope.value} is for {scope.value}" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/health/../models",
        "/health/live/",
        "//models",
        "/health/live%2f..%2f..%2fmodels",
        "/HEALTH/LIVE",
        "/v2/repository//models/mlp/unload",
        "/v2/repository/./models/mlp/unload",
    ],
)
def test_no_other_way_of_writing_a_path_leads_past(guarded: Guarded, path: str) -> None:
    address = httpx.URL(guarded.running.url)
    headers = {"authorization": f"Bearer {guarded.keys['predict']}"}
    with closing(HTTPConnection(address.host, address.port)) as connection:  # which sends a path as it is
        statuses = []
        for told in ({}, headers):
            connection.request("POST", path, headers=told)
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
    assert statuses[0] == 401
    assert statuses[1] in {307, 404, 405}


def test_what_a_key_is_for_is_answered(guarded: Guarded) -> None:
    headers = {"authorization": f"Bearer {guarded.keys['predict']}"}
    answer = guarded.client.post("/predict", content=seven().tobytes(), headers=headers | PIXELS)
    assert answer.json()["predictions"][0]["digit"] == 7
    assert "odenet_models_loaded" in guarded.ask("GET", "/metrics", "metrics").text
    for change in ("unload", "load"):
        assert guarded.ask("POST", f"/v2/repository/models/mlp/{change}", "admin").status_code == 200


def test_browsers_may_look_and_ask_and_change_nothing(guarded: Guarded) -> None:
    """They send a password again by themselves, at the bidding of any page."""
    password = httpx.BasicAuth("anybody", guarded.keys["all"])
    assert guarded.client.get("/docs", auth=password).status_code == 200
    answer = guarded.client.post("/predict", content=seven().tobytes(), headers=PIXELS, auth=password)
    assert answer.status_code == 200
    refused = guarded.client.post("/v2/repository/models/mlp/unload", auth=password)
    assert refused.status_code == 403
    assert "must be Bearer" in refused.json()["error"]
    assert guarded.client.get("/docs", auth=httpx.BasicAuth(guarded.keys["all"], "")).status_code == 401


def test_a_key_that_is_used_too_often_waits(guarded: Guarded) -> None:
    shed = 'odenet_shed_total{reason="rate_limited"} '
    assert f"{shed}0.0" in guarded.ask("GET", "/metrics", "metrics").text
    assert [guarded.ask("GET", "/models", "slow").status_code for _ in range(2)] == [200, 200]
    refused = guarded.ask("GET", "/models", "slow")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert "2 requests a minute are what the key slow is for" in refused.json()["detail"]
    assert guarded.ask("GET", "/models", "predict").status_code == 200
    assert f"{shed}1.0" in guarded.ask("GET", "/metrics", "metrics").text


def test_the_document_says_how_to_show_a_key(guarded: Guarded) -> None:
    document = guarded.ask("GET", "/openapi.json", "all").json()
    assert set(document["components"]["securitySchemes"]) == {"key", "password"}
    assert document["security"] == [{"key": []}, {"password": []}]
    open_paths = {path for path, told in document["paths"].items() if told.get("get", {}).get("security") == []}
    assert open_paths == OPEN


def test_a_key_is_revoked_while_the_service_goes_on(guarded: Guarded) -> None:
    kept = guarded.path.read_text()
    try:
        guarded.path.write_text("")
        assert guarded.ask("GET", "/models", "predict").status_code == 401
        assert guarded.ask("GET", "/health/ready").status_code == 200
    finally:
        guarded.path.write_text(kept)
    assert guarded.ask("GET", "/models", "predict").status_code == 200


def test_processes_count_a_key_together(tmp_path: Path) -> None:
    secret, entry = make_key("slow", frozenset({Scope.predict}), 5)
    (tmp_path / "keys.toml").write_text(entry)
    with running("--api-key-file", str(tmp_path / "keys.toml"), ODENET_WORKERS="2") as service:
        statuses = []
        for _ in range(15):
            with service.client() as client:  # a connection of its own, which either may take
                answer = client.get("/models/mlp", headers={"authorization": f"Bearer {secret}"})
                statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [429] * 10


PASSWORD = base64.b64encode(b"anybody:key:with:colons").decode()
CREDENTIALS = {
    "": ("", ""),
    "Bearer": ("bearer", ""),
    "Bearer key": ("bearer", "key"),
    "bearer  key ": ("bearer", "key"),
    f"Basic {PASSWORD}": ("basic", "key:with:colons"),
    "Basic ####": ("basic", ""),
    "Basic /w==": ("basic", ""),
    "Digest key": ("", ""),
    f"Bearer {'k' * 513}": ("bearer", ""),
}


@pytest.mark.parametrize(("header", "read"), CREDENTIALS.items(), ids=[each[:20] for each in CREDENTIALS])
def test_how_a_key_is_read(header: str, read: tuple[str, str]) -> None:
    assert credentials(header) == read
