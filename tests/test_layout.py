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
    "contract", "engine", "tables", "labelling", "training", "service",
    "benchmarks", "deploy", "tests",
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
        ("labelling", {"contract", "engine", "tables", "labelling"}),
        ("service", {"contract", "engine", "service"}),
        ("training", {"contract", "training"}),
    ],
)
def test_parts_import_only_those_below(part: str, known: set[str]) -> None:
    for source in find_sources(part):
        assert find_imports(source) & PARTS <= known, source


def test_contract_needs_only_pydantic() -> None:
    for source in find_sources("contract"):
        assert find_foreign_imports(source) <= {"pydantic"}, source


def test_one_folder_alone_knows_vllm() -> None:
    parts = ("contract", "engine", "labelling", "service", "tables")
    sources = {
        source.relative_to(ROOT).as_posix()
        for part in parts
        for source in find_sources(part)
        if "vllm" in find_imports(source)
    }
    assert sources == {"engine/vllm/engine.py", "engine/vllm/kernels.py"}


def test_losses_need_only_torch() -> None:
    sources = [source for source in find_sources("training") if source.name == "losses.py"]
    assert sources
    for source in sources:
        assert find_foreign_imports(source) == {"torch"}, source


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
