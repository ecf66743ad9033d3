"""The overlays as Kubernetes would get them: valid, restricted, and true to the service."""

import math
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client import Gauge

from benchmarks.scaling.autoscaler import parse_quantity
from service.access.identification import PROBES
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.deploy.expressions import ROOT, read_rules
from tests.deploy.kustomization import Resource, build, sort_named_lists
from tests.deploy.test_containers import read_stages
from tests.service.fake_service import run_fake_service

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ["overlays/cpu", "overlays/gpu"]
COMPONENTS = [
    "gateway", "grafana-dashboards", "prometheus-operator", "queue-autoscaling", "shared-limits",
]  # fmt: skip
CLUSTERS_OWN = {"v1", "apps/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1"}
INSIDE_ALONE = ("/metrics", "/health", "/docs", "/openapi.json", "/static-offline-docs", "/redoc")
"""What the Gateway does not show to the outside."""
UTILIZATIONS = {"cpu": 1.0, "DCGM_FI_DEV_GPU_UTIL": 1.0, "ncal_engine_utilization": 100.0}
"""Metrics of an autoscaler that tell how much of a replica is in use, and what makes percent of
each."""
OLDEST_KUBERNETES = "1.30"
STRING = {"type": "string", "minLength": 1}
LABELS = {"type": "object", "minProperties": 1, "additionalProperties": STRING}
# The parts used here of resource definitions that come with the Prometheus operator and the Gateway
# API, and which no package carries.
FOREIGN_SCHEMAS: dict[str, Any] = {
    "ServiceMonitor": {
        "type": "object",
        "additionalProperties": False,
        "required": ["selector", "endpoints"],
        "properties": {
            "jobLabel": STRING,
            "selector": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"matchLabels": LABELS},
            },
            "endpoints": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"port": STRING, "path": STRING, "interval": STRING},
                },
            },
        },
    },
    "HTTPRoute": {
        "type": "object",
        "additionalProperties": False,
        "required": ["parentRefs", "hostnames", "rules"],
        "properties": {
            "parentRefs": {"type": "array", "items": {"required": ["name", "namespace"]}},
            "hostnames": {"type": "array", "items": STRING},
            "rules": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "matches": {"type": "array", "maxItems": 64},
                        "backendRefs": {"type": "array", "items": {"required": ["name", "port"]}},
                        "timeouts": {"properties": {"request": {"pattern": "^[0-9]+(ms|s|m|h)$"}}},
                    },
                },
            },
        },
    },
    "PrometheusRule": {
        "type": "object",
        "additionalProperties": False,
        "required": ["groups"],
        "properties": {
            "groups": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "rules"],
                    "properties": {
                        "name": STRING,
                        "rules": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["expr"],
                                "properties": {
                                    "record": STRING,
                                    "alert": STRING,
                                    "expr": STRING,
                                    "for": STRING,
                                    "labels": LABELS,
                                    "annotations": LABELS,
                                },
                            },
                        },
                    },
                },
            }
        },
    },
}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Resource]:
    """An overlay as it is applied: to a plain cluster."""
    return build(KUBERNETES / request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overlay for CPUs with every component it names, as its comment says to switch them on."""
    copy = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    file = copy / "overlays/cpu/kustomization.yaml"
    head, marker, rest = file.read_text(encoding="utf-8").partition("# components:\n")
    assert marker
    rest = re.sub(r"^#   - ", "  - ", rest, flags=re.M)
    file.write_text(f"{head}components:\n{rest}", encoding="utf-8")
    return copy / "overlays/cpu"


def _find(resources: list[Resource], kind: str) -> Resource:
    [resource] = [resource for resource in resources if resource["kind"] == kind]
    return resource


def _pod(resources: list[Resource]) -> Any:
    return _find(resources, "Deployment")["spec"]["template"]["spec"]


def _container(resources: list[Resource]) -> Any:
    [container] = _pod(resources)["containers"]
    return container


def _environment(resources: list[Resource]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in _container(resources)["env"]}


@pytest.mark.parametrize("name", [*OVERLAYS, "whole"])
def test_small_kustomize_agrees_with_the_real_one(name: str, whole: Path) -> None:
    command = _find_kustomize()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    path = whole if name == "whole" else KUBERNETES / name
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    real = {
        (item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(done.stdout)
    }
    ours = {(item["kind"], item["metadata"]["name"]): item for item in build(path)}
    assert sort_named_lists(ours) == sort_named_lists(real)


def _find_kustomize() -> list[str] | None:
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    return None


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, kubernetes_validate.latest_version()])
def test_resources_follow_their_schema(overlay: list[Resource], whole: Path, version: str) -> None:
    for resource in [*overlay, *build(whole)]:
        if resource["apiVersion"] not in CLUSTERS_OWN:
            jsonschema.validate(resource["spec"], FOREIGN_SCHEMAS[resource["kind"]])
        else:
            kubernetes_validate.validate(resource, version, strict=True)


def test_an_overlay_needs_nothing_that_a_plain_cluster_lacks(overlay: list[Resource]) -> None:
    assert {resource["apiVersion"] for resource in overlay} <= CLUSTERS_OWN


def test_every_component_is_named_by_an_overlay(whole: Path) -> None:
    assert {path.name for path in (KUBERNETES / "components").iterdir()} == set(COMPONENTS)
    named = yaml.safe_load((whole / "kustomization.yaml").read_text("utf-8"))["components"]
    assert {Path(name).name for name in named} == set(COMPONENTS)


def test_every_file_of_the_directory_is_used() -> None:
    components = [f"components/{name}" for name in COMPONENTS]
    for directory in (KUBERNETES / name for name in ("base", *OVERLAYS, *components)):
        kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text("utf-8"))
        named = {
            *kustomization.get("resources", ()),
            *(p["path"] for p in kustomization.get("patches", [])),
        }
        there = {path.name for path in directory.iterdir()} - {"kustomization.yaml"}
        assert there == {name for name in named if not name.startswith("..")}


def test_settings_exist_and_have_valid_values(
    overlay: list[Resource], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = _environment(overlay)
    for name, value in environment.items():
        assert name.removeprefix("NCAL_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert str(settings.port) == str(_container(overlay)["ports"][0]["containerPort"])


def test_pod_may_do_nothing_it_need_not(overlay: list[Resource]) -> None:
    pod, container = _pod(overlay), _container(overlay)
    assert (
        _find(overlay, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for mount in container["volumeMounts"]:
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
        assert "emptyDir" in volume or mount["readOnly"] is True


def test_shutdown_has_time_to_finish_accepted_work(overlay: list[Resource]) -> None:
    pause = _container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(_environment(overlay)["NCAL_DRAIN_TIMEOUT_S"])
    assert _pod(overlay)["terminationGracePeriodSeconds"] >= pause + drain + 10


def test_probes_ask_open_routes_and_wait_for_the_canary(overlay: list[Resource]) -> None:
    container = _container(overlay)
    canary = Settings.model_fields["canary_timeout_s"].default
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[name]
        assert probe["httpGet"]["path"] in PROBES
        assert probe["httpGet"]["port"] == container["ports"][0]["name"]
        assert "ready" not in probe["httpGet"]["path"] or probe["timeoutSeconds"] > canary
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_image_gives_a_start_as_long_as_kubernetes_does(overlay: list[Resource]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [start_s] = re.findall(r"--start-period=(\d+)s", dockerfile)
    probe = _container(overlay)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= int(start_s)


def test_everything_points_at_the_same_pods(overlay: list[Resource]) -> None:
    labels = _find(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = _find(overlay, "Service")
    assert service["spec"]["selector"] == labels
    assert _find(overlay, "Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert _find(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert _find(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    target = _find(overlay, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == _find(overlay, "Deployment")["metadata"]["name"]


def test_components_point_at_the_service(whole: Path) -> None:
    resources = build(whole)
    service = _find(resources, "Service")
    [port] = service["spec"]["ports"]
    monitor = _find(resources, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == port["name"]
    [rule] = _find(resources, "HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]


async def test_the_gateway_shows_the_api_and_nothing_else(whole: Path) -> None:
    [rule] = _find(build(whole), "HTTPRoute")["spec"]["rules"]
    shown = tuple(match["path"]["value"] for match in rule["matches"])
    async with run_fake_service() as service:
        paths = [getattr(route, "path", "/") for route in service.app.routes]
    routes = {path for path in paths if path.strip("/")}
    for path in routes:
        covered = any(path == prefix or path.startswith(f"{prefix}/") for prefix in shown)
        assert covered != path.startswith(INSIDE_ALONE), path
    assert all(any(path.startswith(prefix) for path in routes) for prefix in shown)


def test_replicas_with_shared_limits_reach_redis_and_nothing_else(
    overlay: list[Resource], whole: Path
) -> None:
    """The address, with its password, comes from a secret; a name needs the cluster's DNS."""
    assert _find(overlay, "NetworkPolicy")["spec"]["egress"] == []
    resources = build(whole)
    egress = _find(resources, "NetworkPolicy")["spec"]["egress"]
    assert sorted({port["port"] for rule in egress for port in rule["ports"]}) == [53, 6379]
    assert all(rule["to"] for rule in egress)
    [variable] = [each for each in _container(resources)["env"] if each["name"] == "NCAL_REDIS_URL"]
    assert variable["valueFrom"].keys() == {"secretKeyRef"}


def test_dashboards_are_those_of_grafana(whole: Path) -> None:
    maps = [resource for resource in build(whole) if resource["kind"] == "ConfigMap"]
    texts = {text for each in maps for text in each["data"].values()}
    folder = ROOT / "deploy/grafana/dashboards"
    assert texts == {path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in maps} == {"1"}


def test_prometheus_knows_the_job_by_the_name_in_the_rules(whole: Path) -> None:
    overlay = build(whole)
    job_label = _find(overlay, "ServiceMonitor")["spec"]["jobLabel"]
    assert _find(overlay, "Service")["metadata"]["labels"][job_label] == "ncal-serve"
    rules = [rule for group in _find(overlay, "PrometheusRule")["spec"]["groups"]
             for rule in group["rules"]]  # fmt: skip
    assert sorted(rules, key=str) == sorted(read_rules(), key=str)


def _targets(resources: list[Resource]) -> dict[str, float]:
    """What the autoscaler looks at, and the value it keeps it at."""
    found = {}
    for metric in _find(resources, "HorizontalPodAutoscaler")["spec"]["metrics"]:
        if metric["type"] == "Resource":
            resource = metric["resource"]
            found[resource["name"]] = float(resource["target"]["averageUtilization"])
        else:
            name = metric["pods"]["metric"]["name"]
            value = parse_quantity(metric["pods"]["target"]["averageValue"])
            found[name] = value * UTILIZATIONS.get(name, 1.0)
    return found


def test_autoscaler_looks_at_gauges_that_exist(overlay: list[Resource], whole: Path) -> None:
    gauges = {
        name
        for collector, names in Metrics().registry._collector_to_names.items()
        for name in names
        if isinstance(collector, Gauge)
    }
    step = Settings.model_fields["max_batched_tokens"].default
    for resources in (overlay, build(whole)):
        targets = _targets(resources)
        assert targets.keys() <= gauges | UTILIZATIONS.keys()
        # What waits in passing asks for nothing.
        assert targets.get("ncal_queue_tokens", math.inf) >= 2 * step


@pytest.mark.parametrize("load", [0.8, 0.9])
def test_autoscaler_takes_no_replica_away_under_load(
    overlay: list[Resource], whole: Path, load: float
) -> None:
    """Kubernetes wants ceil(replicas × value ÷ target), and the largest answer of all metrics.

    At such a load the engine is in use, but next to nothing waits.
    """
    for resources in (overlay, build(whole)):
        targets = _targets(resources)
        assert targets.keys() & UTILIZATIONS.keys()
        for replicas in range(2, 9):
            value = {name: 100 * load if name in UTILIZATIONS else 0.0 for name in targets}
            wanted = max(math.ceil(replicas * value[name] / targets[name]) for name in targets)
            assert wanted >= replicas


def test_a_drain_gets_through_and_leaves_a_replica(overlay: list[Resource]) -> None:
    budget = _find(overlay, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert _find(overlay, "HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2


def test_image_is_that_of_this_release(overlay: list[Resource]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = _container(overlay)["image"].partition(":")[2]
    assert tag.removesuffix("-gpu") == project["version"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_pod_is_as_the_image_expects(name: str) -> None:
    overlay, stages = build(KUBERNETES / name), read_stages()
    dockerfile = stages["base"] + stages[Path(name).name]
    identity = _pod(overlay)["securityContext"]
    assert f"USER {identity['runAsUser']}:{identity['runAsGroup']}" in dockerfile
    mounts = {mount["mountPath"] for mount in _container(overlay)["volumeMounts"]}
    written = set(re.findall(r"(?:HOME|_DIR)=(/[^/\s]+)", dockerfile))
    assert written and written <= mounts
    assert ("/cache" in mounts) == ("/cache" in dockerfile)


def test_cpu_replica_computes_on_the_cores_it_asks_for() -> None:
    resources = build(KUBERNETES / "overlays/cpu")
    cores = int(_container(resources)["resources"]["requests"]["cpu"])
    assert int(_environment(resources)["NCAL_ENGINE_THREADS"]) == cores


def test_gpu_replica_has_one_gpu_and_a_checkpoint_of_its_own() -> None:
    resources = build(KUBERNETES / "overlays/gpu")
    assert _pod(resources)["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert _find(resources, "PersistentVolumeClaim")["spec"]["storageClassName"]
    assert _container(resources)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    checkpoint = Path(_environment(resources)["NCAL_CHECKPOINT"])
    [mount] = [m for m in _container(resources)["volumeMounts"] if m["name"] == "checkpoints"]
    assert checkpoint.is_relative_to(mount["mountPath"])
    claim = _find(resources, "PersistentVolumeClaim")["metadata"]
    [volume] = [v for v in _pod(resources)["volumes"] if v["name"] == "checkpoints"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["name"]
    assert claim["namespace"] == _find(resources, "Deployment")["metadata"]["namespace"]
