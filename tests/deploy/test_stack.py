"""The image and the compose stack on a real Docker engine; skips, and says why, without one.

With an engine but no way to a registry it wants images of the names that Dockerfile and
docker-compose.yml give; Grafana is left out where its image cannot be had.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.deploy.compose_stack import (
    BASE,
    BUILD_TIMEOUT_S,
    IMAGE,
    Stack,
    has_image,
    run_docker,
    run_stack,
    skip_without_engine,
)
from tests.deploy.expressions import ROOT
from tests.deploy.live_stack import PROBLEM, TURN

ALERTMANAGER_READY = "http://127.0.0.1:9093/-/ready"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def services() -> list[str]:
    """The services of the stack whose images are here, the service's own built anew."""
    skip_without_engine()
    built = run_docker("build", "--network", "host", "--tag", IMAGE, ".", timeout_s=BUILD_TIMEOUT_S)
    if "buildx component is missing" in built.stderr:
        pytest.skip("this Docker has no BuildKit: its buildx plugin is not installed")
    assert built.returncode == 0, built.stderr[-3000:]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    images = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
        for name, service in compose["services"].items()
    }
    if not has_image(images["prometheus"]):
        pytest.skip(f"{images['prometheus']} is not here and cannot be pulled")
    found = [name for name in ("grafana", "alertmanager") if has_image(images[name])]
    return ["service", "prometheus", *found]


def test_the_image_is_small_and_holds_no_torch(services: list[str]) -> None:
    """At most 500 MB on the official base of some 130 MB, which a stand-in may not have."""
    sizes = [run_docker("inspect", "--format", "{{.Size}}", name).stdout for name in (IMAGE, BASE)]
    assert int(sizes[0]) - int(sizes[1]) < 350e6
    names = "torch", "vllm", "transformers", "pip"
    program = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    done = run_docker("run", "--rm", "--entrypoint", "python", IMAGE, "-I", "-c", program)
    assert done.stdout == "[]\n", done.stderr


def test_the_stack_runs_restarts_and_stops(services: list[str]) -> None:
    """The whole of it: start, classify, scrape, crash, recover, stop."""
    with run_stack(services) as stack:
        stack.wait_until_healthy(restarts=0)
        check_rights(stack)
        check_classification(stack)
        check_scrape(stack)
        if "grafana" in services:
            check_dashboards(stack)
        if "alertmanager" in services:
            check_alertmanager(stack)
        kill_service(stack)
        stack.wait_until_healthy(restarts=1)
        check_classification(stack)
        stack.compose("stop", "service")
        assert stack.inspect("{{.State.ExitCode}} {{.State.OOMKilled}}") == "0 false"


def test_with_keys_only_their_bearers_are_served(services: list[str], tmp_path: Path) -> None:
    """The keys come from a file that the container's user reads as a secret."""
    made = [sys.executable, "-m", "service.access.api_keys", "tester"]
    done = subprocess.run(made, cwd=ROOT, capture_output=True, text=True, check=True)
    key, entry = (line.rpartition(" ")[2] for line in done.stdout.splitlines())
    file = tmp_path / "api-keys"
    file.write_text(f"{entry}\n", encoding="utf-8")
    secret = {"API_KEY_FILE": str(file)}
    with run_stack(services[:1], ["deploy/docker-compose.keys.yml"], secret) as stack:
        stack.wait_until_healthy(restarts=0)
        url = f"{stack.service_url}/classify/problem"
        assert httpx.post(url, json=PROBLEM, timeout=60.0).status_code == 401
        bearer = {"Authorization": f"Bearer {key}"}
        assert httpx.post(url, json=PROBLEM, headers=bearer, timeout=60.0).status_code == 200
        assert httpx.get(f"{stack.service_url}/metrics").status_code == 200


def test_a_checkpoint_that_is_refused_is_not_tried_again(
    services: list[str], tmp_path: Path
) -> None:
    """The service is not even started, and the log of the check names the remedy."""
    (tmp_path / "empty").mkdir(mode=0o755)
    override = tmp_path / "override.yml"
    extra = {
        "environment": {"NCAL_CHECKPOINT": "/checkpoints"},
        "volumes": [f"{tmp_path / 'empty'}:/checkpoints:ro"],
    }
    override.write_text(yaml.safe_dump({"services": {"check": extra, "service": extra}}))
    reason = "manifest.json"
    with pytest.raises(AssertionError, match=reason), run_stack(["service"], [str(override)]):
        pytest.fail("the service was started")


def check_rights(stack: Stack) -> None:
    assert stack.run_inside("id", "-u").stdout == "10001\n"
    assert stack.run_inside("touch", "/app/file").returncode != 0
    assert stack.run_inside("touch", "/tmp/file").returncode == 0
    assert stack.run_inside("sh", "-c", "command -v gcc cc clang").stdout == ""


def check_classification(stack: Stack) -> None:
    for path, item in (("/classify/problem", PROBLEM), ("/classify/dialogue-turn", TURN)):
        response = httpx.post(f"{stack.service_url}{path}", json=item, timeout=60.0)
        assert response.status_code == 200, response.text
        assert abs(sum(response.json()["probabilities"].values()) - 1) < 1e-4


def check_scrape(stack: Stack) -> None:
    """Prometheus has found the service by its name and seen its metrics; every rule is loaded."""
    end = time.monotonic() + 120.0
    query = {"query": 'up{job="ncal-serve"} == 1'}
    found: list[object] = []
    while time.monotonic() < end and not found:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{stack.prometheus_url}/api/v1/query", params=query)
            found = answer.json()["data"]["result"] if answer.is_success else []
        time.sleep(1.0)
    assert len(found) == 1
    groups = httpx.get(f"{stack.prometheus_url}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules and all(rule["health"] != "err" for rule in rules)


def check_dashboards(stack: Stack) -> None:
    found = httpx.get(f"{stack.grafana_url}/api/search", params={"type": "dash-db"}).json()
    folder = ROOT / "deploy/grafana/dashboards"
    assert len(found) == len(list(folder.glob("*.json")))


def check_alertmanager(stack: Stack) -> None:
    """It runs with the committed configuration, and Prometheus knows it."""
    known = httpx.get(f"{stack.prometheus_url}/api/v1/alertmanagers").json()["data"]
    assert ["alertmanager:9093" in each["url"] for each in known["activeAlertmanagers"]] == [True]
    stack.compose("exec", "-T", "alertmanager", "wget", "-q", "-O", "-", ALERTMANAGER_READY)


def kill_service(stack: Stack) -> None:
    """Kill the service's process as the kernel would, for want of memory."""
    os.kill(int(stack.inspect("{{.State.Pid}}")), signal.SIGKILL)
