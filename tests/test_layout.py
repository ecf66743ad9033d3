"""The import rule of the house, and what no committed file may hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "contract", "engine", "tables", "labelling", "bulk", "training", "service", "ncal",
    "ncal_client", "benchmarks", "deploy", "tests",
}  # fmt: skip
PUBLIC_HOSTS = {"pypi.org", "download.pytorch.org"}


def find_sources(part: str) -> list[Path]:
    sources = sorted((ROOT / part).rglob("*.py"))
    assert sources, f"{part} holds no Python file"
    return sources


def find_imports(source: Path) -> set[str]:
    """Top-level names of all imports in a file, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{source}: a relative import"
            names.add(node.module.partition(".")[0])
    return names


def find_foreign_imports(source: Path) -> set[str]:
    """Imported names that are neither the standard library's nor parts of this project."""
    return find_imports(source) - set(sys.stdlib_module_names) - PARTS


@pytest.mark.parametrize(
    ("part", "known"),
    [
        ("contract", {"contract"}),
        ("engine", {"contract", "engine"}),
        ("tables", {"contract", "tables"}),
        ("labelling", {"contract", "engine", "tables", "labelling", "ncal_client"}),
        ("service", {"contract", "engine", "service", "tables"}),
        ("training", {"contract", "engine", "tables", "training"}),
        ("bulk", {"contract", "engine", "tables", "bulk"}),
        ("ncal", {"bulk", "labelling", "ncal", "service", "training"}),
        ("ncal_client", {"ncal_client"}),
    ],
)
def test_parts_import_only_those_below(part: str, known: set[str]) -> None:
    for source in find_sources(part):
        assert find_imports(source) & PARTS <= known, source


def test_training_asks_engines_for_the_proof_alone() -> None:
    sources = [
        source.name for source in find_sources("training") if "engine" in find_imports(source)
    ]
    assert sources == ["parity.py"]


def test_contract_needs_only_pydantic() -> None:
    for source in find_sources("contract"):
        assert find_foreign_imports(source) <= {"pydantic"}, source


def test_the_client_needs_what_it_declares() -> None:
    for source in find_sources("ncal_client"):
        assert find_foreign_imports(source) <= {"h11", "httpx2", "websockets"}, source


def test_one_folder_alone_knows_vllm() -> None:
    parts = ("bulk", "contract", "engine", "labelling", "ncal", "ncal_client", "service", "tables")
    sources = {
        source.relative_to(ROOT).as_posix()
        for part in parts
        for source in find_sources(part)
        if "vllm" in find_imports(source)
    }
    assert sources == {"engine/vllm/engine.py", "engine/vllm/kernels.py"}


def test_one_folder_alone_knows_ray() -> None:
    sources = {
        source.relative_to(ROOT).parent.as_posix()
        for part in PARTS - {"tests", "benchmarks"}
        for source in find_sources(part)
        if "ray" in find_imports(source)
    }
    assert sources == {"bulk/cluster"}


def test_losses_need_only_torch() -> None:
    sources = [source for source in find_sources("training") if source.name == "losses.py"]
    assert sources
    for source in sources:
        assert find_foreign_imports(source) == {"torch"}, source


LAYERS = {
    "benchmarks": (
        "chaos",
        "soak",
        "faults",
        "serving",
        "replicas",
        "scaling",
        "protocols",
        "training",
        "bulk_ray",
        "label_choice",
        "results",
        "systems",
        "load",
        "__init__",
    ),
    "bulk": (
        "__main__",
        "command",
        "run",
        "cluster",
        "summary",
        "plan",
        "job",
        "part",
        "scorer",
        "fragments",
        "storage",
        "rows",
        "arguments",
        "__init__",
    ),
    "service": (
        "__main__",
        "command",
        "model_list",
        "process",
        "app",
        "page",
        "protocols",
        "live",
        "api",
        "http",
        "files",
        "rotation",
        "readiness",
        "classifier",
        "models",
        "admission",
        "access",
        "observability",
        "schemas",
        "limits",
        "tasks",
        "settings",
        "errors",
        "exit_codes",
        "__init__",
    ),
    "training": (
        "__main__",
        "commands",
        "train",
        "audit",
        "proposal",
        "evaluation",
        "checkpoints",
        "pretraining",
        "fit",
        "students",
        "fitting",
        "models",
        "losses",
        "data",
        "reporting",
        "recipe",
        "statistics",
        "hub",
        "files",
        "summaries",
        "errors",
        "__init__",
    ),
}
"""The rooms of the parts that have some, from the top: each imports only from those after it."""


def find_project_imports(source: Path) -> set[str]:
    """Whole names of the project's modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] in PARTS}


def find_room(part: str, module: str) -> str:
    """The room of a module of the part: the first name behind the part's."""
    room = module.split(".")[1]
    return room if room in LAYERS[part] else "__init__"


@pytest.mark.parametrize("part", LAYERS)
def test_rooms_import_only_from_those_below(part: str) -> None:
    layers = LAYERS[part]
    for source in find_sources(part):
        own = source.relative_to(ROOT / part).parts[0].removesuffix(".py")
        assert own in layers, f"{source}: a room that the table of layers does not know"
        for name in find_project_imports(source):
            if name.startswith(f"{part}."):
                room = find_room(part, name)
                assert layers.index(room) >= layers.index(own), f"{source} imports {name}"


@pytest.mark.parametrize(
    "part",
    [
        "benchmarks",
        "bulk",
        "engine",
        "labelling",
        "ncal",
        "ncal_client",
        "service",
        "tables",
        "training",
    ],
)
def test_rooms_say_what_lives_in_them_and_stay_small(part: str) -> None:
    for folder in {source.parent for source in find_sources(part)}:
        init = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(init), f"{folder} does not say what lives in it"
        modules = [path for path in folder.glob("*.py") if not path.stem.startswith("__")]
        assert len(modules) <= 12, f"{folder} has {len(modules)} modules"


OWN_ROOMS = {"e2e"}
"""Rooms of the tests that mirror nothing: whole programs, from outside."""


def find_tests() -> list[Path]:
    """Test files of rooms, as paths below `tests`."""
    found = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    rooms = [path for path in found if len(path.parts) > 1 and path.parts[0] not in OWN_ROOMS]
    assert rooms
    return rooms


def test_tests_mirror_the_rooms() -> None:
    for test in find_tests():
        assert (ROOT / test.parent).is_dir(), f"tests/{test}: there is no room {test.parent}"


def test_a_test_that_bears_the_name_of_a_module_lies_in_its_room() -> None:
    for test in find_tests():
        part = ROOT / test.parts[0]
        rooms = {
            module.parent.relative_to(ROOT)
            for module in part.rglob(test.name.removeprefix("test_"))
        }
        assert not rooms or test.parent in rooms, f"tests/{test} tests a module of {rooms}"


def list_committed_texts() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout: which files are committed cannot be told")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192]]


def find_private_index_hosts() -> set[str]:
    """Hosts of the package indexes that this machine's pip is set up with."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s']+", listing)}
    return {host for host in hosts if host} - PUBLIC_HOSTS


def test_no_committed_file_tells_of_a_machine() -> None:
    """No path of somebody's machine and no host of somebody's package index."""
    folders = "|".join(["home/[a-z]", "Users/[A-Za-z]", "work/", "opt/(?:ncal|pypi|wheels)"])
    hosts = "|".join(map(re.escape, find_private_index_hosts()))
    machine = re.compile(rf"(?<![\w.~$}}/-])/(?:{folders})" + (f"|{hosts}" if hosts else ""))
    for path in list_committed_texts():
        found = machine.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(ROOT)} tells of a machine: {found}"


def test_committed_files_are_small() -> None:
    """Beside the weights of the bundled checkpoint nothing large belongs in the repository."""
    for path in list_committed_texts():
        assert path.stat().st_size < 1_000_000, path
