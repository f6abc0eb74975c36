"""Whatever the OpenAPI document allows, and much that it does not, gets an answer that the document has.

The requests, and the checks of their answers, are Schemathesis's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from schemathesis.engine import Status, events, from_schema

from service.security.keys import Scope, make_key
from tests.serving import SHIPPED, TWO_MODELS, Running, running

pytestmark = pytest.mark.system

CONFIG: dict[str, Any] = {
    "seed": 1806,
    "request-timeout": 60,
    "continue-on-failure": True,
    "phases": {"stateful": {"enabled": False}},  # no answer leads to another request
    "checks": {
        # Not all that is refused can be said in a schema: that a text is a picture, that lengths add up.
        "positive_data_acceptance": {"enabled": False},
        # It knows no 5xx that is right, and one is: where a deadline that was asked has passed.  `Exchange.failed`.
        "not_a_server_error": {"enabled": False},
    },
}
SERVED = {"path.name": "odenet-mnist", "path.version": SHIPPED.name}
SPARE = {"path.name": "mlp"}
"""A model that no other operation needs while this is loaded and unloaded."""


class Exchange(NamedTuple):
    """A request and its answer; no status where there was none."""

    operation: str
    request: str
    status: int | None
    text: str

    @property
    def failed(self) -> bool:
        """Whether there was no answer, or the service could not give one that it was not asked to hurry for."""
        late = self.status == 504 and "deadline_ms" in self.text
        return self.status is None or (self.status >= 500 and not late)


class Report(NamedTuple):
    """What was asked, and what was found to be wrong."""

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
) -> Report:
    """Ask for all operations at some paths.

    Args:
        service: answers.
        paths: a pattern of the paths.
        parameters: the values of path parameters.
        examples: the number of random examples of each operation.
        key: the API key to send.
        coverage: whether to ask every boundary value of the schema, too. They do not depend on keys or names: one
            sweep with them is enough for each operation.
    """
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    auth = {} if key is None else {"openapi": {"key": {"bearer": key}}}
    generation = {"max-examples": examples, "deterministic": True, "database": "none"}
    phases = CONFIG["phases"] | {"coverage": {"enabled": coverage}}
    config = schemathesis.Config.from_dict(
        {**CONFIG, "phases": phases, "generation": generation, "parameters": parameters, "auth": auth}
    )
    location = f"{service.url}/openapi.json"
    schema = schemathesis.openapi.from_url(location, config=config, headers=headers).include(path_regex=paths)
    report = Report([], [])
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if not isinstance(event, events.ScenarioFinished):
            continue
        label, recorder = event.recorder.label, event.recorder
        for exchange in recorder.interactions.values():
            request, answer = exchange.request, exchange.response
            told = (None, "") if answer is None else (answer.status_code, answer.text)
            report.exchanges.append(Exchange(label, f"{request.method} {request.uri}", *told))
        failed = (check for checks in recorder.checks.values() for check in checks if check.status == Status.FAILURE)
        for check in failed:
            assert check.failure_info is not None
            report.failures.append(
                f"{label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
            )
    return report


def checked(service: Running, report: Report, key: str | None = None) -> None:
    """See that all was answered, and as the document has it."""
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
    told = {(each.operation, each.status) for each in report.exchanges if each.status != 405}
    assert told <= documented


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
    of_coverage = {405, 415} if parameters == SERVED else set()
    assert {200, 400, 404, 422} | of_coverage <= {each.status for each in report.exchanges}


def test_models_are_loaded_and_unloaded_as_documented(controlled: Running) -> None:
    report = examined(controlled, "^/v2/repository/", SPARE)
    checked(controlled, report)
    assert {200, 400, 422} <= {each.status for each in report.exchanges if each.operation.endswith("/load")}


def test_with_keys_set_every_operation_answers_as_documented(tmp_path: Path) -> None:
    """By a key that may do all, and by one that may not do all, nor anything often; Schemathesis tries others."""
    limited = make_key("limited", frozenset(Scope) - {Scope.admin}, 10)
    everything = make_key("everything", frozenset(Scope))
    (tmp_path / "keys.toml").write_text(everything[1] + limited[1])
    with running("--api-key-file", str(tmp_path / "keys.toml")) as service:
        told = set[int | None]()
        for key, paths in ((everything[0], ""), (limited[0], "^/(predict|models|v2/repository)")):
            report = examined(service, paths, SERVED, 2, key, coverage=False)
            checked(service, report, everything[0])
            told |= {each.status for each in report.exchanges}
    assert {200, 401, 403, 429} <= told
