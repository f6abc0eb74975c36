"""The manifests of deploy/kubernetes, rendered without a cluster, are valid and agree with the code.

The schemas of Kubernetes are those of the package kubernetes-validate. The types of KEDA and of the Prometheus operator
come from packages too. For KServe and the Gateway API, these tests know the fields that the manifests may use.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import MatchOp

from handbook.http_api import openapi
from service.server.supervisor import MARGIN_SECONDS
from service.settings import Settings
from service.telemetry.metrics import SHED_REASONS
from tests.deploy.queries import SERIES, selectors
from tests.waiting import HANG

Resource = dict[str, Any]

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
RENDERINGS = sorted(
    path.parent.relative_to(KUBERNETES).as_posix()
    for path in KUBERNETES.rglob("kustomization.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] == "Kustomization"
)
NEWEST = "1.37.0"
"""The newest version of Kubernetes that the schemas describe."""

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IMAGE = dict(re.findall(r"\b(ODENET_\w+)=(\S+)", DOCKERFILE))
"""The settings that the container image makes."""

OPERATORS = {"ScaledObject", "ServiceMonitor"}
"""The kinds of the resources of KEDA and of the Prometheus operator."""

CONTAINER = {
    "name", "image", "ports", "env", "resources", "livenessProbe", "readinessProbe", "securityContext", "volumeMounts",
}  # fmt: skip
SERVING_RUNTIME = {
    "supportedModelFormats": {"name", "version", "autoSelect"},
    "protocolVersions": set[str](),
    "multiModel": set[str](),
    "annotations": {"prometheus.kserve.io/port", "prometheus.kserve.io/path"},
    "containers": CONTAINER,
    "volumes": {"name", "emptyDir"},
}
"""The fields of `ServingRuntimeSpec` of KServe's API that the runtime uses, and the fields of each (kserve 0.21)."""

PREDICTOR = {
    "minReplicas": set[str](),
    "maxReplicas": set[str](),
    "timeout": set[str](),
    "canaryTrafficPercent": set[str](),
    "model": {"modelFormat", "protocolVersion", "runtime", "storageUri"},
}
"""The same for `PredictorSpec`."""

HTTP_ROUTE = {
    "parentRefs": {"name", "namespace", "sectionName"},
    "hostnames": set[str](),
    "rules": {"matches", "timeouts", "backendRefs"},
}
"""The same for `HTTPRouteSpec` of the Gateway API (v1)."""

WITHOUT_SCHEMA = {"ServingRuntime", "InferenceService", "HTTPRoute"}
"""The kinds whose schemas are in no package for Python that fits next to the service's own packages."""


@cache
def rendered(folder: str) -> dict[str, Resource]:
    """The resources of a rendering, by their kinds. No kind comes twice."""
    done = subprocess.run(
        [KUBECTL, "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    by_kind = {each["kind"]: each for each in resources}
    assert len(by_kind) == len(resources)
    return by_kind


@pytest.fixture
def pod(request: pytest.FixtureRequest) -> Resource:
    """The pod of a rendering: the containers, the volumes, and more."""
    resources = rendered(request.param)
    spec: Resource = (resources.get("ServingRuntime") or resources["Deployment"]["spec"]["template"])["spec"]
    return spec


EVERY_RENDERING = pytest.mark.parametrize("folder", RENDERINGS)
EVERY_POD = pytest.mark.parametrize("pod", RENDERINGS, indirect=True)


def container(pod: Resource) -> Resource:
    """The container of a pod."""
    (only,) = pod["containers"]
    found: Resource = only
    return found


def environment(pod: Resource) -> dict[str, str]:
    """The settings of a container: those of the image, and those of the manifest."""
    return IMAGE | {each["name"]: each["value"] for each in container(pod)["env"]}


def settings(pod: Resource) -> Settings:
    """The settings that the service reads in a container."""
    values = {name.removeprefix("ODENET_").lower(): value for name, value in environment(pod).items()}
    assert values.keys() <= Settings.model_fields.keys()
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


def unknown(given: Resource, known: dict[str, set[str]]) -> set[str]:
    """The fields of a resource, and of its parts, that are not known."""
    found = given.keys() - known.keys()
    for name, value in given.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                found |= {f"{name}.{field}" for field in part.keys() - known.get(name, set())}
    return found


def losses(given: Any, kept: Any, at: str = "") -> Iterator[str]:
    """The places of a document whose values are not in another document."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from losses(value, kept.get(name), f"{at}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from losses(one, other, f"{at}[{number}]")
    elif given != kept:
        yield at


def check_schema(resource: Resource) -> None:
    """Check that a resource fits the newest schema of Kubernetes, and has no unknown field."""
    import kubernetes_validate  # noqa: PLC0415 (the import takes long, and only the tests of this module need it)

    kubernetes_validate.validate(resource, NEWEST, strict=True)


# Every resource is valid.


@EVERY_RENDERING
def test_every_resource_of_kubernetes_fits_its_schema(folder: str) -> None:
    for resource in rendered(folder).values():
        if resource["kind"] not in WITHOUT_SCHEMA | OPERATORS:
            check_schema(resource)


def test_resources_of_operators_fit_their_types_and_have_no_unknown_field() -> None:
    # These imports take seconds, and every process that collects the tests imports this module.
    from cloudcoil.models.keda.v1alpha1 import ScaledObject  # noqa: PLC0415
    from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor  # noqa: PLC0415

    models = {model.__name__: model for model in (ScaledObject, ServiceMonitor)}
    assert models.keys() == OPERATORS
    resources = rendered("overlays/full")
    for kind, model in models.items():
        parsed = model.model_validate(resources[kind])
        kept = parsed.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert list(losses(resources[kind], kept)) == []


@pytest.mark.parametrize("folder", [folder for folder in RENDERINGS if folder.startswith("kserve")])
def test_resources_of_kserve_use_only_fields_of_its_api(folder: str) -> None:
    runtime, inference = rendered(folder)["ServingRuntime"], rendered(folder)["InferenceService"]
    assert runtime["apiVersion"] == "serving.kserve.io/v1alpha1"
    assert inference["apiVersion"] == "serving.kserve.io/v1beta1"
    assert unknown(runtime["spec"], SERVING_RUNTIME) == set()
    assert unknown(inference["spec"]["predictor"], PREDICTOR) == set()
    pod = {name: runtime["spec"][name] for name in ("containers", "volumes")}
    check_schema({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odenet"}, "spec": pod})


def test_the_route_of_the_gateway_api_uses_only_fields_of_its_api_and_reaches_the_service() -> None:
    resources = rendered("overlays/gateway")
    route, service = resources["HTTPRoute"], resources["Service"]
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert unknown(route["spec"], HTTP_ROUTE) == set()
    (rule,), (port,) = route["spec"]["rules"], service["spec"]["ports"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert re.fullmatch(r"\d+s", rule["timeouts"]["request"])
    assert "Ingress" not in resources, "two ways in would need two hosts"


# Pods agree with the service.


@EVERY_POD
def test_variables_are_settings_that_the_service_accepts(pod: Resource) -> None:
    assert settings(pod).host == "0.0.0.0"  # noqa: S104 (a container listens on all of its addresses)


@EVERY_POD
def test_the_port_is_the_one_that_the_image_exposes_and_the_service_listens_on(pod: Resource) -> None:
    (port,) = container(pod)["ports"]
    assert port["containerPort"] == settings(pod).port
    assert re.search(rf"^EXPOSE {port['containerPort']}$", DOCKERFILE, re.MULTILINE)


@EVERY_POD
def test_each_probe_asks_a_route_that_exists_at_a_port_that_exists(pod: Resource) -> None:
    routes = openapi()["paths"]
    (port,) = container(pod)["ports"]
    probes = {name: probe["httpGet"] for name, probe in container(pod).items() if name.endswith("Probe")}
    for probe in probes.values():
        assert "get" in routes[probe["path"]]
        assert probe["port"] in {port["name"], port["containerPort"]}
    assert probes["livenessProbe"]["path"].endswith("/live"), "a replica that drains must not be restarted"
    assert probes["readinessProbe"]["path"].endswith("/ready")


@EVERY_POD
def test_the_container_is_confined(pod: Resource) -> None:
    confined = container(pod)["securityContext"] | pod.get("securityContext", {})
    assert confined["runAsNonRoot"]
    assert confined["readOnlyRootFilesystem"]
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert confined["seccompProfile"] == {"type": "RuntimeDefault"}
    writable = [each["mountPath"] for each in container(pod)["volumeMounts"] if not each.get("readOnly")]
    assert writable == ["/tmp"]  # noqa: S108 (the place where the service writes)


def test_the_user_of_the_image_is_a_number_so_that_kubernetes_sees_that_it_is_not_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users
    assert all(user.isdigit() and int(user) > 0 for user in users)


@EVERY_POD
def test_the_quota_is_a_whole_number_of_processors_and_all_of_it_is_requested(pod: Resource) -> None:
    resources = container(pod)["resources"]
    assert resources["requests"] == resources["limits"]
    assert int(resources["limits"]["cpu"]) >= 1


def test_kubernetes_waits_longer_than_the_service_takes_to_end() -> None:
    pod = rendered("base")["Deployment"]["spec"]["template"]["spec"]
    service = settings(pod)
    longest = service.grace_seconds + service.shutdown_seconds + MARGIN_SECONDS
    assert pod["terminationGracePeriodSeconds"] > longest
    probe = container(pod)["readinessProbe"]
    assert service.grace_seconds > probe["periodSeconds"] * probe["failureThreshold"]


def test_kubernetes_gives_the_pod_no_token_and_no_variables_of_services() -> None:
    pod = rendered("base")["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


# Resources agree with each other.


def test_every_selector_selects_the_pods() -> None:
    resources = rendered("overlays/full")
    spec = resources["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selected = [
        spec["selector"]["matchLabels"],
        resources["Service"]["spec"]["selector"],
        resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in spec["template"]["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector == labels for selector in selected)
    assert resources["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= (
        resources["Service"]["metadata"]["labels"].items()
    )


def test_ports_are_named_alike() -> None:
    resources = rendered("overlays/full")
    ((port,), service) = container(resources["Deployment"]["spec"]["template"]["spec"])["ports"], resources["Service"]
    (exposed,) = service["spec"]["ports"]
    (rule,) = resources["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    (scraped,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    (allowed,) = resources["NetworkPolicy"]["spec"]["ingress"]
    assert exposed["targetPort"] == allowed["ports"][0]["port"] == port["name"]
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": exposed["name"]}}
    assert scraped["port"] == exposed["name"]
    assert "get" in openapi()["paths"][scraped["path"]]


def test_the_ingress_lets_through_what_the_service_accepts() -> None:
    annotations = rendered("overlays/full")["Ingress"]["metadata"]["annotations"]
    size = annotations["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert int(size.removesuffix("m")) * 2**20 == Settings.model_fields["max_body_bytes"].default


def test_both_autoscalers_scale_the_deployment_within_the_same_limits() -> None:
    base, full = rendered("base"), rendered("overlays/full")
    plain, keda = base["HorizontalPodAutoscaler"]["spec"], full["ScaledObject"]["spec"]
    name = base["Deployment"]["metadata"]["name"]
    assert plain["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    assert keda["scaleTargetRef"] == {"name": name}
    assert "HorizontalPodAutoscaler" not in full, "two autoscalers would fight"
    assert (plain["minReplicas"], plain["maxReplicas"]) == (keda["minReplicaCount"], keda["maxReplicaCount"])
    assert plain["behavior"] == keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (processors,) = (trigger for trigger in keda["triggers"] if trigger["type"] == "cpu")
    (metric,) = plain["metrics"]
    assert int(processors["metadata"]["value"]) == metric["resource"]["target"]["averageUtilization"]
    assert "replicas" not in base["Deployment"]["spec"], "an update would undo the work of the autoscaler"


def test_keda_asks_for_metrics_that_exist() -> None:
    resources = rendered("overlays/full")
    triggers = [each["metadata"] for each in resources["ScaledObject"]["spec"]["triggers"] if each["type"] != "cpu"]
    names = set()
    for trigger in triggers:
        (selector,) = selectors(trigger["query"])
        names.add(selector.name)
        assert {matcher.name for matcher in selector.matchers.matchers} <= SERIES[selector.name or ""]
        matched = {each.name: each.value for each in selector.matchers.matchers if each.op == MatchOp.Equal}
        assert matched["job"] == resources["Service"]["metadata"]["name"]
        assert matched.get("reason", SHED_REASONS[0]) in SHED_REASONS
        assert float(trigger["threshold"]) > 0
    assert names == {"odenet_rows_queued", "odenet_shed_total"}


# KServe.


@pytest.mark.parametrize("folder", ["kserve/base", "kserve/canary"])
def test_kserve_finds_the_runtime_by_its_format_and_protocol(folder: str) -> None:
    runtime, inference = rendered(folder)["ServingRuntime"], rendered(folder)["InferenceService"]
    model = inference["spec"]["predictor"]["model"]
    formats = [{name: each[name] for name in ("name", "version")} for each in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert container(runtime["spec"])["name"] == "kserve-container"
    assert container(runtime["spec"])["ports"][0]["name"] == "http1"


def test_kserve_serves_the_model_of_the_name_from_the_folder_that_it_fills() -> None:
    resources = rendered("kserve/base")
    variables = environment(resources["ServingRuntime"]["spec"])
    assert variables["ODENET_MODELS"] == "/mnt/models"
    assert variables["ODENET_MODEL"] == "{{.Name}}"
    name = resources["InferenceService"]["metadata"]["name"]
    assert (ROOT / "models" / "fitted" / name).is_dir(), "the model in the example ships"


def test_the_canary_differs_by_its_models_and_its_share_alone() -> None:
    stable = rendered("kserve/base")["InferenceService"]["spec"]["predictor"]
    canary = deepcopy(rendered("kserve/canary")["InferenceService"]["spec"]["predictor"])
    share = canary.pop("canaryTrafficPercent")
    assert 0 < share < 50
    assert canary["model"].pop("storageUri") != stable["model"]["storageUri"]
    assert list(losses(canary, stable)) == []
