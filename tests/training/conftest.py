"""What several test files of training start from."""

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
