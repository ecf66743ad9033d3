"""The image and the compose files: what they say. What they do is seen in test_stack.py."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.pictures.imports import PARTS
from service.settings import Settings
from tests.deploy.compose_stack import find_compose, make_readable_copy
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
    [(module, name)] = re.findall(r"TRITON_CACHE_MANAGER=(\w+):(\w+) ", stages["gpu"])
    source = (ROOT / "deploy/setup" / f"{module}.py").read_text(encoding="utf-8")
    assert f"class {name}(" in source


@pytest.mark.parametrize("target", ["bulk", "bulk-gpu"])
def test_the_node_of_a_cluster_has_what_kuberay_calls(target: str) -> None:
    """A login shell forgets the PATH of the image; wget asks whether a node is well."""
    stages = read_stages()
    base = join_lines(stages["base-bulk"])
    assert "ln -s /opt/venv/bin/ray /usr/local/bin/ray" in base
    assert re.findall(r"apt-get install ([^&]*)", base)[0].split()[-1] == "wget"
    assert "ENTRYPOINT []\nHEALTHCHECK NONE\n" in base
    packages = join_lines(stages[f"packages-{target}"])
    accelerator = "gpu" if target == "bulk-gpu" else "cpu"
    assert f"environment.py /opt/venv {accelerator} --extra bulk --image" in packages
    copies = re.findall(r"^COPY (.*)$", stages[target], re.M)
    assert copies == [f"--from=packages-{target} /opt/venv /opt/venv", "--from=code /app /app"]
    caches = re.findall(r"\w+=(?:/cache|prebuilt)\S*", stages["gpu"])
    assert [each for each in caches if each not in stages[target]] == (
        [] if target == "bulk-gpu" else caches
    )


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_packages_are_a_layer_below_the_code(target: str) -> None:
    """A change of code must not install packages anew, and no layer holds the code twice."""
    stages = read_stages()
    copies = re.findall(r"^COPY (.*)$", stages[target], re.M)
    assert copies == [f"--from=packages-{target} /opt/venv /opt/venv", "--from=code /app /app"]
    copies = re.findall(r"^COPY (.*)$", stages["code"], re.M)
    # All but training, and so all that the others import.
    parts = sorted(set(PARTS) - {"training"})
    assert copies == [f"{part} {part}" for part in parts]
    assert not re.search(r"chmod|compileall", stages[target])
    assert f"environment.py /opt/venv {target} --image" in join_lines(stages[f"packages-{target}"])


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.M)
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    for source in (source for line in copies for source in line.split()):
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(path) for path in allowed), source


@pytest.mark.parametrize("target", ["cpu", "gpu", "bulk", "bulk-gpu"])
def test_an_image_says_what_it_was_made_from(target: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stage = read_stages()[target]
    assert f"ARG REVISION=unknown VERSION={project['version']}\n" in stage
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', stage))
    assert labels["revision"] == "${REVISION}"
    kind = "" if target == "cpu" else f"-{target}"
    assert labels["version"] == "${VERSION}" + kind
    assert labels["licenses"] == project["license"]


CONTAINERS = [
    "check", "service", "demo", "balancer", "redis", "prometheus", "alertmanager", "collector",
    "grafana",
]  # fmt: skip
PORTS = {
    "service": "BIND_ADDRESS",
    "balancer": "BIND_ADDRESS",
    "prometheus": "MONITORING_ADDRESS",
    "alertmanager": "MONITORING_ADDRESS",
    "grafana": "GRAFANA_ADDRESS",
}
"""By which variable the ports of each are opened: what has no password, by one of its own."""


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_bounded_and_closed_to_the_outside(name: str) -> None:
    service = read_compose()["services"][name]
    # A version, of a name that can be changed to that of a mirror.
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/-]+:v?\d+\.\d+\.\d+\}", service["image"])
    assert service["mem_limit"]
    assert service["restart"] == ("no" if name == "check" else "unless-stopped")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    address = "${" + PORTS.get(name, "") + ":-127.0.0.1}:"
    assert all(port.startswith(address) for port in service.get("ports", []))
    assert "healthcheck" in service or name == "service"  # its image has one


def test_the_list_of_containers_is_whole() -> None:
    services = read_compose()["services"]
    assert set(CONTAINERS) == set(services)
    assert set(PORTS) == {name for name, service in services.items() if "ports" in service}
    optional = {name for name, service in services.items() if "profiles" in service}
    assert optional == {"demo", "alertmanager", "collector", "balancer", "redis"}


def test_the_balancer_has_its_configuration_and_what_that_reads() -> None:
    balancer = read_compose()["services"]["balancer"]
    named = [Path(word).name for word in balancer["command"] if word.endswith(".cfg")]
    texts = [(ROOT / "deploy/haproxy" / name).read_text(encoding="utf-8") for name in named]
    read = set(re.findall(r"\$\{(\w+)\}", "".join(texts)))
    assert read == set(balancer["environment"])
    assert "service:8000" in texts[1]


def test_the_service_writes_nowhere() -> None:
    service = read_compose()["services"]["service"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert "volumes" not in service


@pytest.mark.parametrize("file", ["docker-compose.yml", "deploy/docker-compose.gpu.yml"])
def test_the_demo_runs_in_the_image_that_is_built(file: str) -> None:
    services = read_compose(file)["services"]
    assert services["demo"]["image"] == services["service"]["image"]


def test_uploads_leave_room_for_the_service() -> None:
    """They lie in /tmp, which is memory, as what was sent and as what is answered."""
    service = read_compose()["services"]["service"]
    assert service["mem_limit"].endswith(":-1g}")
    largest = Settings.model_fields["max_upload_bytes"].default
    assert 2 * largest * service["environment"]["NCAL_MAX_UPLOADS"] <= (1 << 30) / 4


def test_the_collector_scrapes_the_service_and_uses_what_it_defines() -> None:
    config = yaml.safe_load((ROOT / "deploy/opentelemetry/collector.yml").read_text("utf-8"))
    [pipeline] = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(config[kind])
    [scrape] = config["receivers"]["prometheus"]["config"]["scrape_configs"]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    assert scrape["dns_sd_configs"] == prometheus["scrape_configs"][0]["dns_sd_configs"]
    assert scrape["job_name"] == prometheus["scrape_configs"][0]["job_name"]
    given = read_compose()["services"]["collector"]["environment"]
    assert set(re.findall(r"\$\{env:(\w+)\}", str(config["exporters"]))) == set(given)


def test_what_watches_does_not_wait_for_what_it_watches() -> None:
    services = read_compose()["services"]
    for name in ("prometheus", "alertmanager", "collector", "grafana"):
        assert "depends_on" not in services[name]


def test_an_image_built_here_is_never_an_old_one() -> None:
    for name in ("check", "service"):
        assert read_compose()["services"][name]["pull_policy"] == "${SERVICE_PULL_POLICY:-build}"


def test_threads_follow_the_limit_of_cores() -> None:
    service = read_compose()["services"]["service"]
    assert service["cpus"] == "${SERVICE_CPUS:-0}"
    assert service["environment"]["NCAL_ENGINE_THREADS"] == "${SERVICE_CPUS:-2}"


@pytest.mark.parametrize("file", ["docker-compose.yml", *OVERRIDES])
def test_what_would_be_refused_is_refused_once(file: str) -> None:
    """The service waits for a check of the same settings, which is not tried again."""
    services = read_compose(file)["services"]
    for key in ("image", "environment", "volumes", "secrets"):
        assert services["check"].get(key) == services["service"].get(key)
    if file == "docker-compose.yml":
        completed = {"condition": "service_completed_successfully"}
        assert services["service"]["depends_on"] == {"check": completed}
        assert services["check"]["command"] == ["--check"]


def test_checkpoints_lie_outside_of_what_the_image_is_built_from() -> None:
    """A folder must be named, is not made when it is missing, and cannot slip into the image."""
    service = read_compose("deploy/docker-compose.gpu.yml")["services"]["service"]
    [checkpoints, _] = service["volumes"]
    assert checkpoints["source"].startswith("${CHECKPOINTS:?")
    assert checkpoints["bind"] == {"create_host_path": False}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored.index("service/checkpoints/*") > ignored.index("!service")


@pytest.mark.parametrize("override", OVERRIDES)
def test_compose_itself_merges_the_files(override: str, tmp_path: Path) -> None:
    command = find_compose()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    named = ["docker-compose.yml", make_readable_copy(override, tmp_path, command)]
    files = [argument for file in named for argument in ("-f", file)]
    given = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    given |= {"CHECKPOINTS": str(tmp_path), "CHECKPOINT_NAME": "mine"}
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
    assert merged.keys() <= base.keys()  # those of a profile may be left out
    for name, added in read_compose(override)["services"].items():
        if name not in merged or name == "demo":
            continue
        assert added["environment"].keys() <= merged[name]["environment"].keys()
        volumes = [*base[name].get("volumes", []), *added.get("volumes", [])]
        assert len(merged[name].get("volumes", [])) == len(volumes)
        assert name == "check" or "127.0.0.1" in str(merged[name]["ports"])


def test_compose_itself_asks_for_the_checkpoint_on_a_gpu(tmp_path: Path) -> None:
    command = find_compose()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    override = make_readable_copy("deploy/docker-compose.gpu.yml", tmp_path, command)
    done = subprocess.run(
        [*command, "-f", "docker-compose.yml", "-f", override, "config"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "CHECKPOINTS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "name the checkpoint to serve" in done.stderr


@pytest.mark.parametrize("file", ["docker-compose.yml", *OVERRIDES])
def test_mounts_are_named_volumes_or_exist(file: str) -> None:
    named = set(read_compose()["volumes"]) | set(read_compose(file).get("volumes", ()))
    for service in read_compose(file)["services"].values():
        for mount in service.get("volumes", []):
            if isinstance(mount, dict):
                continue  # a folder of the operator's
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", mount).partition(":")[0]
            assert source in named or (ROOT / source).exists(), mount


def test_secrets_come_from_files() -> None:
    keys = read_compose("deploy/docker-compose.keys.yml")
    used = {name for service in keys["services"].values() for name in service["secrets"]}
    assert used == set(keys["secrets"])
    text = (ROOT / "deploy/docker-compose.keys.yml").read_text(encoding="utf-8")
    assert "chown 10001 secrets/api-keys" in text  # or the container cannot read it
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
        for name, kind, default in re.findall(r"\$\{(\w+):([-?])([^}]*)\}", text):
            used.setdefault(name, set()).add(default if kind == "-" else "")
    used["SERVICE_CPUS"] = {""}  # of which two things follow
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.M))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        used[name] = {""}
    assert set(listed) == set(used)
    assert all(listed[name] in defaults for name, defaults in used.items())
    [base] = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, re.M)
    assert listed["PYTHON_IMAGE"] == base


def find_settings(file: str) -> set[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return set(re.findall(r"\bNCAL_[A-Z_]+", text))


SETTERS = ["Dockerfile", "docker-compose.yml", *OVERRIDES, "docs/operating.md"]


@pytest.mark.parametrize("file", SETTERS)
def test_the_service_knows_the_settings_it_is_given(file: str) -> None:
    assert find_settings(file) <= {f"NCAL_{name.upper()}" for name in Settings.model_fields}
