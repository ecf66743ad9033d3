"""Rules of the house that are easier to break than to notice."""

import ast
import tomllib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

import service
from service.observability.metrics import Metrics

FOLDER = Path(service.__file__).parent
FILES = sorted([*FOLDER.rglob("*.py"), *(FOLDER.parent / "engine").rglob("*.py")])


def find_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER.parent).as_posix())
def test_the_service_knows_nothing_of_training(path: Path) -> None:
    assert not {"training", "benchmarks"} & find_imports(path)


def test_only_kernels_compute() -> None:
    assert [path.name for path in FILES if "torch" in find_imports(path)] == ["kernels.py"]


def test_routes_hold_no_try() -> None:
    for name in ("classify.py", "stream.py", "information.py", "health.py", "dialogue.py"):
        tree = ast.parse((FOLDER / "api" / name).read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Try)], name


def test_the_version_is_stated_once_in_truth() -> None:
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == service.__version__


def test_the_metrics_of_two_engines_are_one_family() -> None:
    metrics = Metrics()
    for model in ("one", "two"):
        registry = CollectorRegistry()
        Counter("vllm:steps", "Steps.", ["model_name"], registry=registry).labels(model).inc()
        metrics.add_engine(model, registry)
    text = metrics.render().decode()
    assert text.count("# TYPE vllm:steps_total counter") == 1
    assert 'vllm:steps_total{model_name="one"} 1.0' in text
    assert 'vllm:steps_total{model_name="two"} 1.0' in text
    assert 'ncal_engine_up{model="two"} 0.0' in text
