"""What several test files of training start from."""

import gc
from pathlib import Path

import pytest

from tests.training.tiny import make_backbone, make_data


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny backbone and both data sets."""
    folder = tmp_path_factory.mktemp("workplace")
    make_backbone(folder / "backbone")
    make_data(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def freeze_what_is_loaded() -> None:
    """A fit collects garbage twice; it need not look through all of torch and transformers."""
    gc.collect()
    gc.freeze()
