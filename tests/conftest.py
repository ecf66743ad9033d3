"""What holds for every test."""

import os

import pytest

# The models of tests are tiny: a second thread would only spin, and the other core is another
# worker's. torch reads it when it is imported, and every process that a test starts inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bodies", type=int, default=5000, help="how many wrong bodies the service is sent"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _skip_without_gpu([item for item in items if item.get_closest_marker("gpu")])
    _put_slow_files_first(items)


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
