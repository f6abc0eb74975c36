"""Every request, whether the OpenAPI document allows it or not, gets an answer that the document describes.

Schemathesis makes the requests and checks the answers.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from schemathesis.engine import Status, events, from_schema

from service.security.keys import Scope, make_key
from tests.serving import SHIPPED, TWO_MODELS, Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

CONFIG: dict[str, Any] = {
    "seed": 1806,
    "request-timeout": HANG,
    "continue-on-failure": True,
    "checks": {
        # A schema cannot express all our checks: that a text is a picture, or that lengths add up.
        "positive_data_acceptance": {"enabled": False},
        # Schemathesis accepts no 5xx, but one 5xx is correct: a requested deadline has passed. See `Exchange.failed`.
        "not_a_server_error": {"enabled": False},
    },
}
SERVED = {"path.name": "odenet-mnist", "path.version": SHIPPED.name}
SPARE = {"path.name": "mlp"}
"""A model that no other operation needs while the tests load and unload it."""
CONTROL = {"include-path-regex": "^/v2/repository/models/", "parameters": SPARE}
"""The operations that load and unload a model only get the name of the spare model."""


class Exchange(NamedTuple):
    """A request and its answer; the status is None if there was no answer."""

    operation: str
    request: str
    status: int | None
    text: str

    @property
    def failed(self) -> bool:
        """Whether there was no answer, or a 5xx answer for another reason than a requested deadline."""
        late = self.status == 504 and "deadline_ms" in self.text
        return self.status is None or (self.status >= 500 and not late)


class Report(NamedTuple):
    """The requests with their answers, and the failed checks."""

    exchanges: list[Exchange]
    failures: list[str]


def examined(
    service: Running,
    paths: str,
    parameters: dict[str, str],
    examples: int = 10,
    key: str | None = None,
    *,
    coverage: bool = True,
    stateful: bool = False,
) -> Report:
    """Send requests to all operations whose path matches a pattern.

    Args:
        service: the service that answers.
        paths: the pattern of the paths.
        parameters: the values of path parameters.
        examples: the number of random examples of each operation.
        key: the API key to send.
        coverage: whether to send every boundary value of the schema too. These values do not depend on keys or names,
            so one sweep is enough for each operation.
        stateful: whether to send sequences of requests too, in which a request uses values of earlier answers.
    """
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    auth = {} if key is None else {"openapi": {"key": {"bearer": key}}}
    generation = {"max-examples": examples, "deterministic": True, "database": "none"}
    phases = {"coverage": {"enabled": coverage}, "stateful": {"enabled": stateful}}
    config = schemathesis.Config.from_dict(
        {
            **CONFIG,
            "phases": phases,
            "generation": generation,
            "parameters": parameters,
            "operations": [CONTROL] if stateful else [],  # with it, Schemathesis ignores the pattern of the paths
            "auth": auth,
        }
    )
    location = f"{service.url}/openapi.json"
    schema = schemathesis.openapi.from_url(location, config=config, headers=headers).include(path_regex=paths)
    report = Report([], [])
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if not isinstance(event, events.ScenarioFinished):
            continue
        label, recorder = event.recorder.label, event.recorder
        for case, exchange in recorder.interactions.items():
            operation, request, answer = recorder.cases[case].value.operation, exchange.request, exchange.response
            status, text = (None, "") if answer is None else (answer.status_code, answer.text)
            report.exchanges.append(Exchange(operation.label, f"{request.method} {request.uri}", status, text))
        failed = (check for checks in recorder.checks.values() for check in checks if check.status == Status.FAILURE)
        for check in failed:
            assert check.failure_info is not None
            report.failures.append(
                f"{label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
            )
    return report


def checked(service: Running, report: Report, key: str | None = None) -> None:
    """Check that all requests were answered as the document describes."""
    with service.client() as client:
        paths = client.get("/openapi.json", headers={"authorization": f"Bearer {key}"}).json()["paths"]
    assert report.failures == []
    assert [exchange for exchange in report.exchanges if exchange.failed] == []
    documented = {
        (f"{method.upper()} {path}", int(status))
        for path, operations in paths.items()
        for method, operation in operations.items()
        for status in operation["responses"]
        if status != "default"
    }
    observed = {(each.operation, each.status) for each in report.exchanges if each.status != 405}
    assert observed <= documented


@pytest.fixture(scope="module")
def controlled() -> Iterator[Running]:
    with running("--model-control", models=TWO_MODELS) as service:
        yield service


@pytest.mark.parametrize(("parameters", "examples"), [({}, 4), (SERVED, 10)], ids=["any name", "a served model"])
def test_every_operation_answers_as_documented(service: Running, parameters: dict[str, str], examples: int) -> None:
    report = examined(service, "", parameters, examples, coverage=parameters == SERVED)
    checked(service, report)
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    answered = {each.operation for each in report.exchanges}
    assert answered == operations
    others = {405, 415} if parameters == SERVED else {404}  # an unknown name gets 404
    assert {200, 400, 422} | others <= {each.status for each in report.exchanges}


def test_models_are_loaded_and_unloaded_as_documented(controlled: Running) -> None:
    report = examined(controlled, "^/v2/repository/", SPARE)
    checked(controlled, report)
    assert {200, 400, 422} <= {each.status for each in report.exchanges if each.operation.endswith("/load")}


def test_every_operation_answers_as_documented_with_api_keys(tmp_path: Path) -> None:
    """One key has all scopes. The other key lacks a scope and has a low rate. Schemathesis also tries wrong keys."""
    limited = make_key("limited", frozenset(Scope) - {Scope.admin}, 10)
    everything = make_key("everything", frozenset(Scope))
    (tmp_path / "keys.toml").write_text(everything[1] + limited[1])
    with running("--api-key-file", str(tmp_path / "keys.toml")) as service:
        statuses = set[int | None]()
        for key, paths in ((everything[0], ""), (limited[0], "^/(predict|models|v2/repository)")):
            report = examined(service, paths, SERVED, 2, key, coverage=False)
            checked(service, report, everything[0])
            statuses |= {each.status for each in report.exchanges}
    assert {200, 401, 403, 429} <= statuses


@pytest.mark.nightly
@pytest.mark.parametrize("with_keys", [False, True], ids=["without keys", "with keys"])
def test_sequences_of_requests_are_answered_as_documented(tmp_path: Path, with_keys: bool) -> None:
    """Schemathesis runs all its phases to the end, with three times as many examples as in the other tests."""
    key, entry = make_key("everything", frozenset(Scope))
    (tmp_path / "keys.toml").write_text(entry)
    flags = ("--api-key-file", str(tmp_path / "keys.toml")) if with_keys else ()
    sent = key if with_keys else None
    with running("--model-control", *flags, models=TWO_MODELS) as service:
        checked(service, examined(service, "", SERVED, 30, sent, stateful=True), sent)
