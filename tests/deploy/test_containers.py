"""The image and the compose files: what they say. What they do is seen in test_stack.py."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose_stack import find_compose
from tests.deploy.expressions import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OVERRIDES = ["deploy/docker-compose.gpu.yml", "deploy/docker-compose.keys.yml"]


def read_compose(name: str = "docker-compose.yml") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


def read_stages() -> dict[str, str]:
    """The Dockerfile's stages by name, in their order."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", DOCKERFILE, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def join_lines(text: str) -> str:
    return text.replace("\\\n", " ")


def test_the_default_image_is_the_cpu_one() -> None:
    assert list(read_stages())[-1] == "cpu"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_without_rights_and_tells_its_health(target: str) -> None:
    stages = read_stages()
    users = re.findall(r"^USER (.*)$", stages[target], re.M)
    assert users == ["10001:10001"]
    assert 'ENTRYPOINT ["/opt/venv/bin/python", "-m", "service"]' in stages["base"]
    assert "STOPSIGNAL SIGTERM" in stages["base"]
    assert re.search(r"HEALTHCHECK .*CMD \[.*/health/ready", join_lines(stages["base"]))
    assert "HF_HUB_OFFLINE=1" in stages["base"]


@pytest.mark.parametrize(("target", "packages"), [("cpu", []), ("gpu", [])])
def test_no_compiler_is_in_an_image(target: str, packages: list[str]) -> None:
    stages = read_stages()
    installed = re.findall(r"apt-get install ([^&]*)", join_lines(stages["base"] + stages[target]))
    assert [name for line in installed for name in line.split() if name[0] != "-"] == packages


def test_triton_finds_what_the_build_compiled_for_it() -> None:
    """The module lies where Python looks, and Triton is told the class by its name."""
    stages = read_stages()
    [folder] = re.findall(r"prebuilt_triton.py (/opt/venv/\S+)/$", stages["packages-gpu"], re.M)
    assert f"/opt/venv/bin/python {folder}/prebuilt_triton.py\n" in stages["packages-gpu"]
    assert f"PYTHONPATH={folder} " in stages["gpu"]
    [(module, name)] = re.findall(r"TRITON_CACHE_MANAGER=(\w+):(\w+)$", stages["gpu"], re.M)
    source = (ROOT / "deploy/setup" / f"{module}.py").read_text(encoding="utf-8")
    assert f"class {name}(" in source


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_packages_are_a_layer_below_the_code(target: str) -> None:
    """A change of code must not install packages anew."""
    stages = read_stages()
    copies = re.findall(r"^COPY (.*)$", stages[target], re.M)
    assert copies == [
        f"--from=packages-{target} /opt/venv /opt/venv",
        "contract contract",
        "engine engine",
        "service service",
    ]
    assert f"environment.py /opt/venv {target} --image" in join_lines(stages[f"packages-{target}"])


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.M)
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    for source in (source for line in copies for source in line.split()):
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(path) for path in allowed), source


@pytest.mark.parametrize("name", ["service", "prometheus", "grafana"])
def test_a_container_is_bounded_and_closed_to_the_outside(name: str) -> None:
    service = read_compose()["services"][name]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in service["ports"])
    assert "healthcheck" in service or name == "service"  # its image has one


def test_the_service_writes_nowhere_but_to_its_cache() -> None:
    service = read_compose()["services"]["service"]
    assert service["read_only"] is True
    assert (service["tmpfs"], service["volumes"]) == (["/tmp"], ["cache:/cache"])


def test_each_starts_when_the_one_before_is_healthy() -> None:
    services = read_compose()["services"]
    healthy = {"condition": "service_healthy"}
    assert services["prometheus"]["depends_on"] == {"service": healthy}
    assert services["grafana"]["depends_on"] == {"prometheus": healthy}


@pytest.mark.parametrize("override", OVERRIDES)
def test_compose_itself_merges_the_files(override: str) -> None:
    command = find_compose()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    files = [argument for file in ("docker-compose.yml", override) for argument in ("-f", file)]
    given = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        [*command, "--env-file", ".env.example", *files, "config"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    merged, base = yaml.safe_load(done.stdout)["services"], read_compose()["services"]
    assert merged.keys() == base.keys()
    for name, added in read_compose(override)["services"].items():
        assert added["environment"].keys() <= merged[name]["environment"].keys()
        volumes = [*base[name]["volumes"], *added.get("volumes", [])]
        assert len(merged[name]["volumes"]) == len(volumes)
        assert "127.0.0.1" in str(merged[name]["ports"])


@pytest.mark.parametrize("file", ["docker-compose.yml", *OVERRIDES])
def test_mounts_are_named_volumes_or_exist(file: str) -> None:
    named = set(read_compose()["volumes"])
    for service in read_compose(file)["services"].values():
        for mount in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount).partition(":")[0]
            if source == "./service/checkpoints":
                continue  # the one of the bundled checkpoint
            assert source in named or (ROOT / source).exists(), mount


def test_secrets_come_from_files() -> None:
    keys = read_compose("deploy/docker-compose.keys.yml")
    used = {name for service in keys["services"].values() for name in service["secrets"]}
    assert used == set(keys["secrets"])
    assert all(set(secret) == {"file"} for secret in keys["secrets"].values())
    environment = keys["services"]["service"]["environment"]
    assert environment["NCAL_API_KEY_FILE"] == "/run/secrets/api-keys"
    assert environment["NCAL_ALLOW_NO_KEY"] == "false"


def test_the_gpu_is_reserved_and_its_image_taken() -> None:
    service = read_compose("deploy/docker-compose.gpu.yml")["services"]["service"]
    assert service["build"]["target"] == "gpu"
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_the_example_of_settings_lists_each_with_its_default() -> None:
    used: dict[str, set[str]] = {}
    for file in ["docker-compose.yml", *OVERRIDES]:
        text = (ROOT / file).read_text(encoding="utf-8")
        for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", text):
            used.setdefault(name, set()).add(default)
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.M))
    arguments = set(read_compose()["services"]["service"]["build"]["args"])
    assert set(listed) == set(used) | arguments
    assert all(listed[name] in defaults for name, defaults in used.items())


def find_settings(file: str) -> set[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return set(re.findall(r"\bNCAL_[A-Z_]+", text))


SETTERS = ["Dockerfile", "docker-compose.yml", *OVERRIDES, "docs/operating.md"]


@pytest.mark.parametrize("file", SETTERS)
def test_the_service_knows_the_settings_it_is_given(file: str) -> None:
    from service.settings import Settings

    assert find_settings(file) <= {f"NCAL_{name.upper()}" for name in Settings.model_fields}
