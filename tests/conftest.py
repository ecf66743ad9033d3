"""What holds for every test."""

import os
from pathlib import Path

import pytest

# The models of tests are tiny: a second thread would only spin, and the other core is another
# worker's. torch reads it when it is imported, and every process that a test starts inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bodies", type=int, default=5000, help="how many wrong bodies the service is sent"
    )


SHARED = ("shared_service",)
"""Fixtures that cost more than the tests around them: files that ask for one share a process."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _skip_without_gpu([item for item in items if item.get_closest_marker("gpu")])
    if config.pluginmanager.hasplugin("xdist"):
        _share_out(items)


def _skip_without_gpu(chosen: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none. torch is asked only if such a test was chosen."""
    if not chosen:
        return
    import torch

    if not torch.cuda.is_available():
        for item in chosen:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU: torch sees none"))


def _share_out(items: list[pytest.Item]) -> None:
    """Say what one process runs whole: a file, whose tests share what its fixtures made.

    Slow ones come first, so that at the end no process is left alone with one.
    """
    groups = _find_groups(items)
    slow = {groups[item.path] for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: groups[item.path] not in slow)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))


def _find_groups(items: list[pytest.Item]) -> dict[Path, str]:
    """The group of each file: its own, or that of all files that ask for a shared fixture."""
    groups = {item.path: str(item.path) for item in items}
    for item in items:
        for name in set(SHARED) & set(getattr(item, "fixturenames", ())):
            groups[item.path] = name
    return groups
