"""Which routes need which key, in a real service with keys."""

import base64
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.security.guard import OPEN, credentials, needed_scope
from service.security.keys import Scope, make_key
from tests.digits import seven
from tests.serving import TWO_MODELS, Running, running
from tests.waiting import until

pytestmark = pytest.mark.system

PIXELS = {"content-type": "application/octet-stream"}


@dataclass
class Guarded:
    """A service with API keys, and the keys by their names."""

    running: Running
    client: httpx.Client
    keys: dict[str, str]
    path: Path

    def request(self, method: str, path: str, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {self.keys.get(key, key)}"}
        return self.client.request(method, path, headers=headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    rates = {"slow": 2}
    scopes = {name: frozenset({Scope(name)}) for name in ("predict", "admin", "metrics")}
    scopes |= {"all": frozenset(Scope), "slow": frozenset({Scope.predict})}
    made = {name: make_key(name, allowed, rates.get(name)) for name, allowed in scopes.items()}
    path.write_text("".join(entry for _, entry in made.values()))
    with running("--api-key-file", str(path), "--model-control", "--log-format", "json", models=TWO_MODELS) as service:
        with service.client() as client:
            yield Guarded(service, client, {name: secret for name, (secret, _) in made.items()}, path)
        log = "".join(service.log)
        assert not any(secret in log for secret, _ in made.values()), "the log does not hold the key"


def routes(guarded: Guarded) -> list[tuple[str, str]]:
    """Every route of the service that needs a key, including those that the OpenAPI document leaves out."""
    document = guarded.request("GET", "/openapi.json", "all").json()
    documented = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(documented) > 15
    filled = [(method, re.sub(r"\{\w+\}", "mlp", path)) for method, path in documented if path not in OPEN]
    more = ["/", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/nowhere", "/v2/nowhere"]
    return filled + [("GET", path) for path in more]


def test_every_route_but_health_needs_a_key(guarded: Guarded) -> None:
    for method, path in routes(guarded):
        for key in (None, "odenet_wrong"):
            answer = guarded.request(method, path, key)
            assert answer.status_code == 401, f"{method} {path} with {key}"
            assert [challenge.split()[0] for challenge in answer.headers.get_list("www-authenticate")] == [
                "Bearer",
                "Basic",
            ]
            assert ("error" in answer.json()) == path.startswith("/v2"), "each protocol has its own form"
            assert "odenet_wrong" not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_to_a_request_without_a_key_leaves_the_connection_usable(guarded: Guarded, method: str) -> None:
    address = httpx.URL(guarded.running.url)
    with closing(HTTPConnection(address.host, address.port)) as connection:
        for path, status in (("/models", 401), ("/health/live/", 200), ("/metrics/", 401), ("/health/live", 200)):
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.status == status
            assert bool(answer.read()) == (method == "GET")


def test_the_log_names_the_owner_of_a_key(guarded: Guarded) -> None:
    assert guarded.request("GET", "/models", "all").status_code == 200
    until(lambda: '"key": "all"' in "".join(guarded.running.log))


def test_health_routes_need_no_key(guarded: Guarded) -> None:
    for path in OPEN:
        assert guarded.request("GET", path).status_code == 200


def test_every_route_needs_its_scope(guarded: Guarded) -> None:
    for method, path in routes(guarded):
        for scope in Scope:
            answer = guarded.request(method, path, scope.value)
            assert (answer.status_code == 403) == (scope is not needed_scope(path)), f"{method} {path} with {scope}"
            if answer.status_code == 403:
                assert f"key '{scope.value}' has {scope.value}" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/health/../models",
        "//models",
        "/health/live%2f..%2f..%2fmodels",
        "/HEALTH/LIVE",
        "/v2/repository//models/mlp/unload",
        "/v2/repository/./models/mlp/unload",
    ],
)
def test_no_other_spelling_of_a_path_avoids_the_guard(guarded: Guarded, path: str) -> None:
    address = httpx.URL(guarded.running.url)
    headers = {"authorization": f"Bearer {guarded.keys['predict']}"}
    with closing(HTTPConnection(address.host, address.port)) as connection:  # HTTPConnection sends a path unchanged
        statuses = []
        for sent in ({}, headers):
            connection.request("POST", path, headers=sent)
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
    assert statuses[0] == 401
    assert statuses[1] in {403, 404, 405}


def test_a_line_feed_behind_a_path_does_not_avoid_the_guard(guarded: Guarded) -> None:
    """A pattern that ends with $ matches `/metrics` and a line feed. Only a key for metrics may read the metrics."""
    assert guarded.request("GET", "/metrics%0A").status_code == 401
    for key in ("predict", "all"):
        assert guarded.request("GET", "/metrics%0A", key).status_code == 404


def test_requests_within_the_scope_of_a_key_are_answered(guarded: Guarded) -> None:
    headers = {"authorization": f"Bearer {guarded.keys['predict']}"}
    answer = guarded.client.post("/predict", content=seven().tobytes(), headers=headers | PIXELS)
    assert answer.json()["predictions"][0]["digit"] == 7
    assert "odenet_models_loaded" in guarded.request("GET", "/metrics", "metrics").text
    for change in ("unload", "load"):
        assert guarded.request("POST", f"/v2/repository/models/mlp/{change}", "admin").status_code == 200


def test_with_basic_authentication_browsers_may_read_and_predict_but_change_nothing(guarded: Guarded) -> None:
    """A browser sends the password again with requests that any page makes."""
    password = httpx.BasicAuth("anybody", guarded.keys["all"])
    assert guarded.client.get("/docs", auth=password).status_code == 200
    answer = guarded.client.post("/predict", content=seven().tobytes(), headers=PIXELS, auth=password)
    assert answer.status_code == 200
    refused = guarded.client.post("/v2/repository/models/mlp/unload", auth=password)
    assert refused.status_code == 403
    assert "must be Bearer" in refused.json()["error"]
    assert guarded.client.get("/docs", auth=httpx.BasicAuth(guarded.keys["all"], "")).status_code == 401


def test_a_key_that_is_used_too_often_is_refused(guarded: Guarded) -> None:
    shed = 'odenet_shed_total{reason="rate_limited"} '
    assert f"{shed}0.0" in guarded.request("GET", "/metrics", "metrics").text
    assert [guarded.request("GET", "/models", "slow").status_code for _ in range(2)] == [200, 200]
    refused = guarded.request("GET", "/models", "slow")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert "key 'slow' is limited to 2 requests per minute" in refused.json()["detail"]
    assert guarded.request("GET", "/models", "predict").status_code == 200
    assert f"{shed}1.0" in guarded.request("GET", "/metrics", "metrics").text


def test_the_openapi_document_describes_how_to_send_a_key(guarded: Guarded) -> None:
    document = guarded.request("GET", "/openapi.json", "all").json()
    assert set(document["components"]["securitySchemes"]) == {"key", "password"}
    assert document["security"] == [{"key": []}, {"password": []}]
    open_paths = {path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []}
    assert open_paths == OPEN


def test_a_key_is_revoked_while_the_service_runs(guarded: Guarded) -> None:
    kept = guarded.path.read_text()
    try:
        guarded.path.write_text("")
        assert guarded.request("GET", "/models", "predict").status_code == 401
        assert guarded.request("GET", "/health/ready").status_code == 200
    finally:
        guarded.path.write_text(kept)
    assert guarded.request("GET", "/models", "predict").status_code == 200


def test_worker_processes_share_the_rate_limit_of_a_key(tmp_path: Path) -> None:
    secret, entry = make_key("slow", frozenset({Scope.predict}), 2)
    (tmp_path / "keys.toml").write_text(entry)
    with running("--api-key-file", str(tmp_path / "keys.toml"), ODENET_WORKERS="2") as service:
        statuses = []
        for _ in range(15):
            with service.client() as client:  # each client has a new connection, which either process may accept
                answer = client.get("/models/mlp", headers={"authorization": f"Bearer {secret}"})
                statuses.append(answer.status_code)
    assert statuses == [200] * 2 + [429] * 13


PASSWORD = base64.b64encode(b"anybody:key:with:colons").decode()
CREDENTIALS = {
    "": ("", ""),
    "Bearer": ("bearer", ""),
    "Bearer key": ("bearer", "key"),
    "bearer  key ": ("bearer", "key"),
    f"Basic {PASSWORD}": ("basic", "key:with:colons"),
    "Basic ####": ("basic", ""),
    "Basic /w==": ("basic", ""),
    "Basic \xe9": ("basic", ""),
    "Digest key": ("", ""),
    f"Bearer {'k' * 513}": ("bearer", ""),
}


@pytest.mark.parametrize(("header", "expected"), CREDENTIALS.items(), ids=[each[:20] for each in CREDENTIALS])
def test_the_key_is_read_from_the_authorization_header(header: str, expected: tuple[str, str]) -> None:
    assert credentials(header) == expected


@given(st.sampled_from(["Basic", "Bearer"]), st.text(st.characters(max_codepoint=255), max_size=100))
def test_any_header_of_a_known_scheme_gives_a_key_or_none(scheme: str, rest: str) -> None:
    """Each byte of a header may have any value."""
    read, key = credentials(f"{scheme} {rest}")
    assert read == scheme.lower()
    assert key == rest.strip() or scheme == "Basic"
