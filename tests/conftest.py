"""What holds for every test, and how tests are shared out.

With `--dist each` (as `make test` has it) one process runs what imports torch, vLLM and their like,
and the other the rest: importing them takes longer than most tests, and would in every process.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.unmeasured import make_unmeasured_environment

# The models of tests are tiny: a second thread would only spin, and the other core is another
# worker's. torch reads it when it is imported, and every process that a test starts inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).parent
WITH_TORCH = ("benchmarks", "engine", "training", "service/protocols/test_vllm_classify.py")
THEIRS = {
    True: (
        "openvino", "peft", "transformers.trainer", "sklearn.feature_extraction.text",
        "matplotlib.backends.backend_agg", "vllm.v1.engine.async_llm",
    ),
    False: ("openvino", "playwright.async_api", "ray.data", "schemathesis"),
}  # fmt: skip
"""By process, with torch or without: what takes long to import, longer where it is measured."""
NO_SOURCE = {"benchmarks", "deploy", "docs"}
"""What they test is nothing whose coverage is asked for."""
UNMEASURED = NO_SOURCE | {"e2e"}
"""That which computes is a client."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bodies", type=int, default=5000, help="how many wrong bodies the service is sent"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the process that shares out: tell another which part is its own."""
    if node.config.getoption("dist") == "each":
        with_torch = node.gateway.id == "gw0"
        is_whole = node.config.args_source is not pytest.Config.ArgsSource.ARGS
        node.workerinput |= {"with_torch": with_torch, "is_whole": is_whole}


def pytest_sessionstart(session: pytest.Session) -> None:
    given = getattr(session.config, "workerinput", {})
    if given.get("is_whole"):
        with unmeasured():
            for name in THEIRS[given["with_torch"]]:
                with suppress(ImportError):  # skipped where it is needed
                    import_module(name)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare a process the imports of what another runs."""
    return True if is_of_another(collection_path, config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # What the command line names is collected in any case.
    items[:] = [item for item in items if not is_of_another(item.path, config)]
    _skip_without_gpu([item for item in items if item.get_closest_marker("gpu")])
    _put_slow_files_first(items)


def is_of_another(path: Path, config: pytest.Config) -> bool:
    """Whether another process runs all that is or lies there."""
    with_torch = getattr(config, "workerinput", {}).get("with_torch")
    if with_torch is None:
        return False
    places = [TESTS / name for name in WITH_TORCH]
    is_with_torch = any(path.is_relative_to(place) for place in places)
    if with_torch:
        return not is_with_torch and not any(place.is_relative_to(path) for place in places)
    return is_with_torch


def find_room(path: Path) -> str | None:
    """The folder of `tests` in which something lies; the name of a file beside them."""
    below = path.relative_to(TESTS).parts
    return below[0] if below else None


@pytest.fixture(scope="module", autouse=True)
def pause_coverage(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measuring costs a quarter of the processor time."""
    room = find_room(request.path)
    with pytest.MonkeyPatch.context() as patch:
        if room in NO_SOURCE:
            for name in set(os.environ) - make_unmeasured_environment().keys():
                patch.delenv(name)
        with unmeasured() if room in UNMEASURED else nullcontext():
            yield


@contextmanager
def unmeasured() -> Iterator[None]:
    """No coverage in this process meanwhile."""
    coverage = sys.modules.get("coverage")
    running = coverage.Coverage.current() if coverage else None
    if running is not None:
        running.stop()
    yield
    if running is not None:
        running.start()


def _skip_without_gpu(chosen: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none. torch is asked only if such a test was chosen."""
    if not chosen:
        return
    import torch

    if not torch.cuda.is_available():
        for item in chosen:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU: torch sees none"))


def _put_slow_files_first(items: list[pytest.Item]) -> None:
    """A process runs whole files, in this order: at the end none is left alone with a slow one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
