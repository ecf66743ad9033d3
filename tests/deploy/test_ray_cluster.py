"""The manifests for KubeRay: pods that Kubernetes would take, restricted, and true to the command.

KubeRay's own resource definitions come with the operator and no package carries them. So the fields
around the pods, as its API reference lists them (ray.io/v1), stand in a schema here, and the pods
themselves are validated by that of Kubernetes.
"""

import re
import shlex
import tomllib
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from bulk.arguments import parse_arguments
from tests.deploy.expressions import ROOT
from tests.deploy.test_containers import read_stages

RAY = ROOT / "deploy/kubernetes/ray"
LABEL = {"app.kubernetes.io/name": "ncal-bulk"}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
HEAD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rayStartParams", "template"],
    "properties": {"rayStartParams": STRINGS, "template": {"type": "object"}},
}
WORKERS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["groupName", "rayStartParams", "template", "replicas"],
    "properties": {
        "groupName": {"type": "string"},
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        **HEAD["properties"],  # type: ignore[dict-item]
    },
}
CLUSTER: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["headGroupSpec", "workerGroupSpecs"],
    "properties": {
        "headGroupSpec": HEAD,
        "workerGroupSpecs": {"type": "array", "minItems": 1, "items": WORKERS},
    },
}
JOB = {
    "type": "object",
    "additionalProperties": False,
    "required": ["entrypoint", "rayClusterSpec"],
    "properties": {
        "entrypoint": {"type": "string"},
        "backoffLimit": COUNT,
        "shutdownAfterJobFinishes": {"type": "boolean"},
        "ttlSecondsAfterFinished": COUNT,
        "submitterPodTemplate": {"type": "object"},
        "rayClusterSpec": CLUSTER,
    },
}
FILES = ["cluster.yaml", "job-cpu.yaml", "job-gpu.yaml"]
JOBS = FILES[1:]


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((RAY / name).read_text(encoding="utf-8"))
    return content


def read_cluster(name: str) -> dict[str, Any]:
    spec = read(name)["spec"]
    cluster: dict[str, Any] = spec.get("rayClusterSpec", spec)
    return cluster


def read_groups(name: str) -> list[dict[str, Any]]:
    """The head and the workers."""
    cluster = read_cluster(name)
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def read_pods(name: str) -> list[dict[str, Any]]:
    """All pod templates, that of the submitter too."""
    submitter = read(name)["spec"].get("submitterPodTemplate")
    return [*(group["template"] for group in read_groups(name)), *filter(None, [submitter])]


@pytest.mark.parametrize("name", FILES)
def test_what_is_around_the_pods_follows_the_schema(name: str) -> None:
    resource = read(name)
    assert resource["apiVersion"] == "ray.io/v1"
    assert resource["kind"] == ("RayCluster" if name == "cluster.yaml" else "RayJob")
    jsonschema.validate(resource["spec"], CLUSTER if name == "cluster.yaml" else JOB)


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", FILES)
def test_pods_are_what_kubernetes_takes(name: str, version: str) -> None:
    for number, template in enumerate(read_pods(name)):
        metadata = {"name": f"pod-{number}", **template["metadata"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("name", FILES)
def test_pods_may_do_nothing_they_need_not(name: str) -> None:
    """The namespace refuses what is not restricted."""
    for template in read_pods(name):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        for mount in container.get("volumeMounts", ()):
            [volume] = [each for each in spec["volumes"] if each["name"] == mount["name"]]
            assert "emptyDir" in volume or mount["readOnly"] is True


@pytest.mark.parametrize("name", FILES)
def test_pods_have_the_image_of_this_release_that_the_dockerfile_makes(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target = "bulk-gpu" if name == "job-gpu.yaml" else "bulk"
    images = {each["spec"]["containers"][0]["image"] for each in read_pods(name)}
    assert images == {f"ncal-serve:{project['version']}-{target}"}
    stage = read_stages()[target]
    identity = read_pods(name)[0]["spec"]["securityContext"]
    assert f"USER {identity['runAsUser']}:{identity['runAsGroup']}" in stage
    assert "/app" in re.findall(r"PYTHONPATH=(\S+)", stage)[0].split(":")


@pytest.mark.parametrize("name", JOBS)
def test_the_command_is_one_and_its_engines_fit_on_a_node(name: str) -> None:
    words = shlex.split(read(name)["spec"]["entrypoint"])
    assert words[:4] == ["/opt/venv/bin/python", "-m", "ncal", "label"]
    options = parse_arguments(words[4:])
    assert options.ray == "auto"
    head, workers = read_groups(name)
    assert head["rayStartParams"]["num-cpus"] == "0"  # the driver alone
    assert int(workers["rayStartParams"]["num-cpus"]) >= options.cpus
    assert int(workers["rayStartParams"]["num-cpus"]) % options.cpus == 0
    gpus = float(workers["rayStartParams"].get("num-gpus", 0))
    assert (gpus >= options.gpus) == (options.engine == "vllm")


@pytest.mark.parametrize("name", FILES)
def test_ray_is_told_of_the_cores_and_gpus_that_kubernetes_gives(name: str) -> None:
    for group in read_cluster(name)["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        resources = container["resources"]
        assert resources["requests"]["cpu"] == group["rayStartParams"]["num-cpus"]
        gpus = resources["limits"].get("nvidia.com/gpu")
        assert gpus == group["rayStartParams"].get("num-gpus")
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_a_job_on_gpus_finds_its_checkpoint() -> None:
    options = parse_arguments(shlex.split(read("job-gpu.yaml")["spec"]["entrypoint"])[4:])
    for group in read_groups("job-gpu.yaml"):
        [container] = group["template"]["spec"]["containers"]
        [mount] = [each for each in container["volumeMounts"] if each["name"] == "checkpoints"]
        assert options.checkpoint.is_relative_to(mount["mountPath"])


@pytest.mark.parametrize("name", FILES)
def test_the_policy_and_the_monitor_mean_these_pods(name: str) -> None:
    policy, monitor = read("network-policy.yaml"), read("pod-monitor.yaml")
    kubernetes_validate.validate(policy, "1.30", strict=True)
    assert policy["spec"]["podSelector"]["matchLabels"] == LABEL
    assert monitor["spec"]["selector"]["matchLabels"] == LABEL
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for template in read_pods(name):
        assert template["metadata"]["labels"] == LABEL
    for group in read_groups(name):
        [container] = group["template"]["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert endpoint["port"] in {port["port"] for port in policy["spec"]["ingress"][1]["ports"]}
    names = {read(each)["metadata"]["namespace"] for each in FILES}
    assert names == {policy["metadata"]["namespace"]} == {monitor["metadata"]["namespace"]}
