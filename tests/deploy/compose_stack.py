"""A Docker engine, where there is one, and the compose stack brought up on it."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.deploy.expressions import ROOT
from tests.deploy.live_stack import find_free_port

IMAGE = "ncal-serve:1.0.0"
BASE = "python:3.11-slim-bookworm"
BUILD_TIMEOUT_S = 1800.0
HEALTHY_TIMEOUT_S = 300.0  # seconds are enough; a busy machine is slow


def run_docker(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run the docker command; whether it worked is the caller's question."""
    return subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def skip_without_engine() -> None:
    """Skip, and say why, where no image can be built."""
    if shutil.which("docker") is None:
        pytest.skip("no Docker: the command `docker` is not installed")
    if run_docker("info").returncode:
        pytest.skip("no Docker engine answers (`docker info` fails)")
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("ARG PYTHON_IMAGE=") and not has_image(line.partition("=")[2]):
            pytest.skip(f"the base image {line.partition('=')[2]} is not here and cannot be pulled")
    if find_compose() is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")


def has_image(name: str) -> bool:
    """Whether an image is here or can be pulled."""
    if run_docker("image", "inspect", name).returncode == 0:
        return True
    return run_docker("pull", "--quiet", name, timeout_s=600.0).returncode == 0


def find_compose() -> list[str] | None:
    """The compose command: Docker's plugin, or the older program of its own."""
    if run_docker("compose", "version").returncode == 0:
        return ["docker", "compose"]
    return [found] if (found := shutil.which("docker-compose")) else None


def make_readable_copy(override: str, folder: Path, command: Sequence[str]) -> str:
    """The path of an override that this compose can read.

    The older program, 1.29, never makes a folder that is missing and does not know the word that
    forbids it: there the copy lacks the word.
    """
    if command[0] != "docker-compose" and not command[0].endswith("/docker-compose"):
        return override
    text = (ROOT / override).read_text(encoding="utf-8")
    copy = folder / Path(override).name
    copy.write_text(text.replace("bind: {create_host_path: false}", ""), encoding="utf-8")
    return str(copy)


class Stack:
    """A compose project of its own on free ports."""

    def __init__(
        self,
        compose: Sequence[str],
        project: str,
        overrides: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.service_url, self.prometheus_url, self.grafana_url = (
            f"http://127.0.0.1:{find_free_port()}" for _ in range(3)
        )
        files = [f"--file={file}" for file in ("docker-compose.yml", *overrides)]
        self._compose = [*compose, *files, "--project-name", project]
        self._environment = {
            **os.environ,
            **environment,
            "SERVICE_PORT": self.service_url.rpartition(":")[2],
            "PROMETHEUS_PORT": self.prometheus_url.rpartition(":")[2],
            "GRAFANA_PORT": self.grafana_url.rpartition(":")[2],
            "ALERTMANAGER_PORT": str(find_free_port()),
        }

    def compose(self, *arguments: str, timeout_s: float = 120.0) -> str:
        """Run a compose command in this project; return its output."""
        done = subprocess.run(
            [*self._compose, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.read_log()
        return done.stdout

    def read_log(self) -> str:
        """The last lines of the service and of the check before it."""
        done = subprocess.run(
            [*self._compose, "logs", "--tail", "40", "check", "service"],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def inspect(self, expression: str) -> str:
        """A Go template's value for the service's container."""
        container = self.compose("ps", "--all", "--quiet", "service").strip()
        return run_docker("inspect", "--format", expression, container).stdout.strip()

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the service's container."""
        container = self.compose("ps", "--quiet", "service").strip()
        return run_docker("exec", container, *command)

    def wait_until_healthy(self, *, restarts: int) -> None:
        """Wait until the service's container is healthy after so many restarts."""
        wanted = f"{restarts} healthy"
        end = time.monotonic() + HEALTHY_TIMEOUT_S
        while time.monotonic() < end:
            state = self.inspect("{{.RestartCount}} {{.State.Health.Status}}")
            if state == wanted:
                return
            time.sleep(2.0)
        raise TimeoutError(f"the service is {state}, not {wanted}: {self.read_log()}")


@contextlib.contextmanager
def run_stack(
    services: Sequence[str],
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Bring services of the stack up, images already built; take all of it down afterwards.

    `overrides` are further compose files, `environment` sets the variables they read.
    """
    compose = find_compose()
    assert compose is not None
    stack = Stack(compose, f"ncal-test-{os.getpid()}", overrides, environment or {})
    try:
        stack.compose("up", "--detach", "--no-build", *services, timeout_s=HEALTHY_TIMEOUT_S)
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "45", timeout_s=180.0)
