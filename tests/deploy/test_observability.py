"""The alerts, the dashboard, and the containers that run them. `make observability` runs the checks of Prometheus."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    LabelModifierType,
    Matcher,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
    parse,
)

from service.engine.request import End
from service.engine.tuning import BROWN_OUT_TO
from service.telemetry.metrics import CANCELLED_STAGES, SHED_REASONS, STEP_OUTCOMES
from tests.deploy.queries import COUNTERS_AND_GAUGES, HISTOGRAMS, SERIES, Labels, selectors

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
GRAFANA = DEPLOY / "grafana"

VALUES = {
    "end": {end.value for end in End},
    "outcome": set(STEP_OUTCOMES),
    "reason": set(SHED_REASONS),
    "stage": set(CANCELLED_STAGES),
}

NOT_SHOWN = {"odenet_last_answer_timestamp_seconds"}  # only the statistics of the Open Inference Protocol use it


class Query(NamedTuple):
    """An expression, the panel or rule that it belongs to, and the labels that the text of its result names."""

    owner: str
    expression: str
    shown: Labels = frozenset()


def content_of(path: Path) -> Any:
    """The content of a YAML or JSON file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


COMPOSE = content_of(ROOT / "docker-compose.yml")
CONFIG = content_of(PROMETHEUS / "prometheus.yml")
RULES = [rule for group in content_of(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDS = [rule for rule in RULES if "record" in rule]
RULE_TESTS = content_of(PROMETHEUS / "alerts_test.yml")["tests"]
DASHBOARD = json.loads((GRAFANA / "dashboards" / "odenet.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCES = content_of(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
PROVIDERS = content_of(GRAFANA / "provisioning" / "dashboards" / "odenet.yml")["providers"]
WATCHING = ("prometheus", "grafana")


def queries_of_rules() -> Iterator[Query]:
    """The expressions of alerts.yml, with the labels that the annotations name."""
    for rule in RULES:
        texts = " ".join(rule.get("annotations", {}).values())
        yield Query(rule.get("alert") or rule["record"], rule["expr"], frozenset(re.findall(r"\$labels\.(\w+)", texts)))


def queries_of_dashboard() -> Iterator[Query]:
    """The expressions of the dashboard as Grafana sends them, with the labels that the legends name."""
    for panel in PANELS:
        for target in panel["targets"]:
            legend = frozenset(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
            yield Query(f"{panel['title']} {target['refId']}", as_sent(target["expr"]), legend)


def as_sent(expression: str) -> str:
    """An expression of the dashboard with its variables filled in."""
    return expression.replace("$__rate_interval", "20s").replace("$model", ".*")


RECORDED = {rule["record"] for rule in RECORDS}
QUERIES = [*queries_of_rules(), *queries_of_dashboard()]
EVERY_QUERY = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.owner)
EVERY_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
EVERY_PANEL = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))


def matchers(label: str) -> list[Matcher]:
    """The matchers of a label in all queries."""
    chosen = [selector.matchers.matchers for query in QUERIES for selector in selectors(query.expression)]
    return [matcher for group in chosen for matcher in group if matcher.name == label]


def labels_of(node: Expr) -> Labels | None:
    """The labels of the series that an expression returns; None for a scalar.

    Fails if the expression names a metric or a label that does not exist, or if it joins series with different labels,
    because such a join returns nothing.
    """
    match node:
        case NumberLiteral():
            return None
        case VectorSelector() | MatrixSelector():
            return labels_of_selector(node)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            return labels_of(node.expr)
        case AggregateExpr():
            return labels_of_aggregate(node)
        case BinaryExpr():
            return labels_of_binary(node)
        case Call():
            return labels_of_call(node)
    raise AssertionError(f"this test does not support {type(node).__name__}")


def labels_of_selector(node: VectorSelector | MatrixSelector) -> Labels:
    node = node.vector_selector if isinstance(node, MatrixSelector) else node
    name = node.name or ""
    known = SERIES.get(name)
    if known is None:
        assert name in RECORDED, f"no metric is called {name}"
        (record,) = (rule for rule in RECORDS if rule["record"] == name)
        known = labels_of(parse(record["expr"])) or frozenset()
    assert {matcher.name for matcher in node.matchers.matchers} <= known
    return known


def labels_of_aggregate(node: AggregateExpr) -> Labels:
    inner = labels_of(node.expr)
    assert inner is not None
    if node.modifier is None:
        return frozenset()
    assert node.modifier.type == AggModifierType.By
    kept = frozenset(node.modifier.labels)
    assert kept <= inner, f"{node.expr.prettify()} has no labels {sorted(kept - inner)}"
    return kept


def labels_of_binary(node: BinaryExpr) -> Labels | None:
    left, right = labels_of(node.lhs), labels_of(node.rhs)
    if left is None or right is None:
        return right if left is None else left
    matching = None if node.modifier is None else node.modifier.matching
    if matching is None and str(node.op) == "or":  # a union, whose series may have other labels too
        return left & right
    if matching is None:
        assert left == right, f"{node.prettify()} joins {sorted(left)} with {sorted(right)}"
        return left
    assert matching.type == LabelModifierType.Include
    shared = frozenset(matching.labels)
    assert shared <= left & right
    assert node.modifier is not None
    return left if node.modifier.card == VectorMatchCardinality.ManyToMany else shared


def labels_of_call(node: Call) -> Labels | None:
    if node.func.name == "label_replace":
        series, label = node.args[0], node.args[1]
        assert isinstance(label, StringLiteral)
        return (labels_of(series) or frozenset()) | {label.val}
    inner = labels_of(node.args[-1])
    if node.func.name == "vector":
        return frozenset()
    assert inner is not None
    if node.func.name == "histogram_quantile":
        assert "le" in inner
        return inner - {"le"}
    if node.func.name == "absent":
        (selector,) = selectors(node.args[0].prettify())
        return frozenset(matcher.name for matcher in selector.matchers.matchers)
    return inner


@EVERY_QUERY
def test_a_query_uses_metrics_and_labels_that_exist(query: Query) -> None:
    assert query.shown <= (labels_of(parse(query.expression)) or frozenset())


def test_labels_are_matched_with_values_that_occur() -> None:
    for label, values in VALUES.items():
        for matcher in matchers(label):
            assert matcher.op == MatchOp.Equal
            assert matcher.value in values


def test_only_inference_routes_match_the_queries() -> None:
    for matcher in matchers("route"):
        assert matcher.op == MatchOp.Re
        for route in ("/predict", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
            assert re.fullmatch(matcher.value, route)
        for route in ("/metrics", "/models", "/health/ready", "/v2", "/v2/models/{name}", "/v2/models/{name}/ready"):
            assert not re.fullmatch(matcher.value, route)


def test_only_calls_for_inference_match_the_alerts() -> None:
    chosen = [
        matcher for rule in RULES for selector in selectors(rule["expr"]) for matcher in selector.matchers.matchers
    ]
    methods = {matcher.value for matcher in chosen if matcher.name == "method"}
    assert methods
    for method in methods:
        for call in ("ModelInfer", "ModelStreamInfer"):
            assert re.fullmatch(method, f"/inference.GRPCInferenceService/{call}")
        for call in ("/inference.GRPCInferenceService/ModelReady", "/grpc.health.v1.Health/Check"):
            assert not re.fullmatch(method, call)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {selector.name for query in queries_of_dashboard() for selector in selectors(query.expression)}
    for name in COUNTERS_AND_GAUGES.keys() - NOT_SHOWN:
        assert name in shown
    for name in HISTOGRAMS:
        assert shown & {f"{name}_bucket", f"{name}_count"}


@EVERY_ALERT
def test_an_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(alert["annotations"]) == {"summary", "description"}
    assert all(text.strip() for text in alert["annotations"].values())


@EVERY_ALERT
def test_an_alert_fires_in_a_test_of_prometheus(alert: dict[str, Any]) -> None:
    fired = [
        sample["labels"]
        for rule_test in RULE_TESTS
        for test in rule_test["promql_expr_test"]
        for sample in test["exp_samples"]
    ]
    name, severity = alert["alert"], alert["labels"]["severity"]
    assert any(f'alertname="{name}", severity="{severity}"' in labels for labels in fired)


def test_alerts_have_unique_names() -> None:
    names = [rule.get("alert") or rule["record"] for rule in RULES]
    assert len(names) == len(set(names))


def test_the_queue_alert_fires_where_brown_out_is_at_its_floor() -> None:
    (rule,) = (rule for rule in ALERTS if rule["alert"] == "OdenetQueueFills")
    assert rule["expr"].split()[-1] == str(BROWN_OUT_TO)


def test_panels_have_unique_ids_and_titles() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
        down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
        assert not (across and down), f"{one} overlaps {other}"


@EVERY_PANEL
def test_a_panel_has_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    unit = panel["options"]["yAxis"] if panel["type"] == "heatmap" else panel["fieldConfig"]["defaults"]
    assert unit.get("unit") or panel["type"] == "table"


@EVERY_PANEL
def test_a_panel_queries_the_provisioned_prometheus(panel: dict[str, Any]) -> None:
    (datasource,) = DATASOURCES
    for asking in (panel, *panel["targets"]):
        assert asking["datasource"] == {"type": datasource["type"], "uid": datasource["uid"]}


@EVERY_PANEL
def test_a_panel_computes_rates_over_grafanas_rate_interval(panel: dict[str, Any]) -> None:
    ranges = [found for target in panel["targets"] for found in re.findall(r"\[([^\]]*)\]", target["expr"])]
    assert set(ranges) <= {"$__rate_interval"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_grafana_knows_the_scrape_interval() -> None:
    (datasource,) = DATASOURCES
    assert datasource["jsonData"]["timeInterval"] == CONFIG["global"]["scrape_interval"]


def test_prometheus_reads_its_rules_and_scrapes_the_service() -> None:
    assert all((PROMETHEUS / name).is_file() for name in CONFIG["rule_files"])
    (job,) = CONFIG["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert any(published.endswith(f":{port}") for published in COMPOSE["services"][name]["ports"])
    assert {matcher.value for matcher in matchers("job")} == {job["job_name"]}


def test_grafana_is_provisioned_with_prometheus_and_the_dashboard() -> None:
    (datasource,), (provider,) = DATASOURCES, PROVIDERS
    assert datasource["url"] == "http://prometheus:9090"
    mounted = {place: source for source, place, _ in mounts("grafana")}
    shown = ROOT / mounted[provider["options"]["path"]] / "odenet.json"
    assert shown == GRAFANA / "dashboards" / "odenet.json"
    home = environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{shown.name}"


@pytest.mark.parametrize("name", WATCHING)
def test_configuration_is_mounted_read_only_from_existing_files(name: str) -> None:
    for source, _, how in mounts(name):
        if source.startswith("."):
            assert any((ROOT / source).iterdir())
            assert how == "ro"
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", WATCHING)
def test_prometheus_and_grafana_start_on_demand_and_listen_on_this_machine_only(name: str) -> None:
    container = COMPOSE["services"][name]
    assert container["profiles"] == ["observability"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+", port) for port in container["ports"])
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", container["image"])


@pytest.mark.parametrize("name", WATCHING)
def test_prometheus_and_grafana_are_confined_like_the_service(name: str) -> None:
    for key in ("read_only", "tmpfs", "cap_drop", "security_opt", "restart"):
        assert COMPOSE["services"][name][key] == COMPOSE["services"]["service"][key]


def test_grafana_has_no_accounts_and_visitors_can_only_view() -> None:
    settings = environment("grafana")
    assert settings["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert settings["GF_AUTH_BASIC_ENABLED"] == settings["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert settings["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert settings["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def mounts(name: str) -> list[tuple[str, str, str]]:
    """The mounts of a container: the source, the target, and the mode."""
    parts = [volume.split(":") for volume in COMPOSE["services"][name]["volumes"]]
    return [(source, place, how[0] if how else "rw") for source, place, *how in parts]


def environment(name: str) -> dict[str, str]:
    """The environment variables of a container."""
    variables: dict[str, str] = COMPOSE["services"][name]["environment"]
    return variables
