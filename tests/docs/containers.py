"""Commands of Docker and Kubernetes: files, services, stages and arguments are those there are."""

import re
from functools import cache
from itertools import pairwise

import yaml

from tests.docs.files import find_missing, list_outputs
from tests.docs.pages import ROOT
from tests.docs.programs import check_module
from tests.docs.shell import Command

_COMPOSE = ("docker-compose.yml", "deploy/docker-compose.gpu.yml", "deploy/docker-compose.keys.yml")
_GPU = "deploy/docker-compose.gpu.yml"


def check_docker(command: Command) -> list[str]:
    """Return what is wrong with a docker command."""
    match command.words[1:]:
        case ("compose", *rest):
            return _check_compose(command, rest)
        case ("build", *rest):
            return _check_build(rest)
        case ("run", *rest):
            return _check_entrypoint(rest)
        case ("pull" | "image", *_):
            return []
    return [f"{' '.join(command.words)}: not a command that the pages need"]


def check_kubectl(words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a kubectl command: the folders it applies exist."""
    folders = [folder for option, folder in pairwise(words) if option == "-k"]
    return [missing for folder in folders if (missing := find_missing(folder))]


@cache
def list_compose_variables() -> frozenset[str]:
    """What whoever starts the stack may set."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in _COMPOSE]
    pip = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"}
    return frozenset(re.findall(r"\$\{(\w+)", "".join(texts))) | pip


def _check_compose(command: Command, rest: list[str]) -> list[str]:
    files = [rest[place + 1] for place, word in enumerate(rest) if word == "-f"]
    faults = [missing for name in files if (missing := find_missing(name))]
    known = list_compose_variables()
    unknown = command.variables.keys() - known
    faults += [f"{name}: compose reads no such variable" for name in unknown]
    if _GPU in files and "up" in rest:
        faults += _check_gpu_checkpoint(command.variables)
    if "run" in rest:
        stack = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        if not set(stack["services"]) & set(rest):
            faults.append("docker compose run: names no service of the stack")
        faults += _check_entrypoint(rest)
    return faults


def _check_gpu_checkpoint(variables: dict[str, str]) -> list[str]:
    """Without its name the stack serves the bundled checkpoint, which nobody needs a GPU for."""
    if "CHECKPOINT_NAME" not in variables:
        return [f"{_GPU}: serves the bundled checkpoint unless CHECKPOINT_NAME says another"]
    folder = variables.get("CHECKPOINTS", "./service/checkpoints").removeprefix("./")
    checkpoint = f"{folder}/{variables['CHECKPOINT_NAME']}"
    known = checkpoint in list_outputs() or (ROOT / checkpoint).is_dir()
    return [] if known else [f"{checkpoint}: no recipe writes this checkpoint"]


def _check_build(words: list[str]) -> list[str]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    arguments = {name for line in re.findall(r"^ARG (.+)$", text, re.M) for name in line.split()}
    known = {name.partition("=")[0] for name in arguments}
    stages = set(re.findall(r"^FROM .* AS (\S+)$", text, re.M))
    faults = []
    for option, value in pairwise(words):
        if option == "--build-arg" and value.partition("=")[0] not in known:
            faults.append(f"--build-arg {value}: the Dockerfile has no such ARG")
        if option == "--target" and value not in stages:
            faults.append(f"--target {value}: the Dockerfile has no such stage")
    return faults


def _check_entrypoint(words: list[str]) -> list[str]:
    """A program that runs inside the image, where `python` is the environment's own."""
    if "-m" not in words:
        return []
    module, *arguments = words[words.index("-m") + 1 :]
    return check_module(module, arguments)
