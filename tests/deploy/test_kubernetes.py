"""The overlays as Kubernetes would get them: valid, restricted, and true to the service."""

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

from service.access.identification import PROBES
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.deploy.expressions import ROOT, read_rules
from tests.deploy.kustomization import Resource, build, sort_named_lists

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ["overlays/cpu", "overlays/gpu"]
OLDEST_KUBERNETES = "1.30"
STRING = {"type": "string", "minLength": 1}
LABELS = {"type": "object", "minProperties": 1, "additionalProperties": STRING}
# The parts used here of the Prometheus operator's resource definitions, which no package carries.
OPERATOR_SCHEMAS: dict[str, Any] = {
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
    return build(KUBERNETES / request.param)


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


@pytest.mark.parametrize("name", OVERLAYS)
def test_small_kustomize_agrees_with_the_real_one(name: str) -> None:
    command = _find_kustomize()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    path = KUBERNETES / name
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
def test_resources_follow_their_schema(overlay: list[Resource], version: str) -> None:
    for resource in overlay:
        if resource["apiVersion"] == "monitoring.coreos.com/v1":
            jsonschema.validate(resource["spec"], OPERATOR_SCHEMAS[resource["kind"]])
        else:
            kubernetes_validate.validate(resource, version, strict=True)


def test_every_file_of_the_directory_is_used() -> None:
    for directory in (KUBERNETES / "base", *(KUBERNETES / name for name in OVERLAYS)):
        kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text("utf-8"))
        named = {
            *kustomization["resources"],
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
    monitor = _find(overlay, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_prometheus_knows_the_job_by_the_name_in_the_rules(overlay: list[Resource]) -> None:
    job_label = _find(overlay, "ServiceMonitor")["spec"]["jobLabel"]
    assert _find(overlay, "Service")["metadata"]["labels"][job_label] == "ncal-serve"
    rules = [rule for group in _find(overlay, "PrometheusRule")["spec"]["groups"]
             for rule in group["rules"]]  # fmt: skip
    assert sorted(rules, key=str) == sorted(read_rules(), key=str)


def test_autoscaler_looks_at_gauges_of_the_service(overlay: list[Resource]) -> None:
    gauges = {
        name
        for collector, names in Metrics().registry._collector_to_names.items()
        for name in names
        if isinstance(collector, Gauge)
    }
    spec = _find(overlay, "HorizontalPodAutoscaler")["spec"]
    assert {metric["pods"]["metric"]["name"] for metric in spec["metrics"]} <= gauges
    step = Settings.model_fields["max_batched_tokens"].default
    [target] = [metric["pods"]["target"] for metric in spec["metrics"]]
    assert int(target["averageValue"]) >= 2 * step  # what waits in passing asks for nothing


def test_image_is_that_of_this_release(overlay: list[Resource]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = _container(overlay)["image"].partition(":")[2]
    assert tag.removesuffix("-gpu") == project["version"]


def test_pod_is_as_the_image_expects(overlay: list[Resource]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    identity = _pod(overlay)["securityContext"]
    assert f"USER {identity['runAsUser']}:{identity['runAsGroup']}" in dockerfile
    mounts = {mount["mountPath"] for mount in _container(overlay)["volumeMounts"]}
    written = set(re.findall(r"(?:HOME|_DIR)=(/[^/\s]+)", dockerfile))
    assert written and written <= mounts


def test_cpu_replica_computes_on_the_cores_it_asks_for() -> None:
    resources = build(KUBERNETES / "overlays/cpu")
    cores = int(_container(resources)["resources"]["requests"]["cpu"])
    assert int(_environment(resources)["NCAL_ENGINE_THREADS"]) == cores


def test_gpu_replica_has_one_gpu_and_a_checkpoint_of_its_own() -> None:
    resources = build(KUBERNETES / "overlays/gpu")
    assert _container(resources)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    checkpoint = Path(_environment(resources)["NCAL_CHECKPOINT"])
    [mount] = [m for m in _container(resources)["volumeMounts"] if m["name"] == "checkpoints"]
    assert checkpoint.is_relative_to(mount["mountPath"])
    claim = _find(resources, "PersistentVolumeClaim")["metadata"]
    [volume] = [v for v in _pod(resources)["volumes"] if v["name"] == "checkpoints"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["name"]
    assert claim["namespace"] == _find(resources, "Deployment")["metadata"]["namespace"]
