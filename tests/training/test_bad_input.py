"""What a person can mend: a message with file, line and remedy, exit code 2, nothing written."""

import json
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import make_backbone, make_data, make_recipe
from training.__main__ import main
from training.files import write_text

pytestmark = pytest.mark.slow

GOOD = {"id": "x", "question": "1+1=？", "class": "回忆"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_backbone(tmp_path_factory.mktemp("bad") / "backbone")


@pytest.fixture
def place(backbone: Path, tmp_path: Path) -> Path:
    """Good data and a good recipe, for a test to spoil."""
    make_data(tmp_path)
    make_recipe(tmp_path, backbone=str(backbone)).write(tmp_path / "recipe.yaml")
    return tmp_path


def _refuse(place: Path, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Run a command that must fail; return its message."""
    before = sorted(path for path in place.rglob("*") if path.is_file())
    assert main([*command, "--recipe", str(place / "recipe.yaml")]) == 2
    assert sorted(path for path in place.rglob("*") if path.is_file()) == before
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


@contextmanager
def no_space(limit: int) -> Iterator[None]:
    """Files can grow to `limit` bytes, and no further: the nearest thing to a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", ["train", "crossvalidate", "baseline"])
@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        (GOOD | {"class": "难题"}, "unknown label '难题'", "the label set 'timss' has: 回忆, 识别"),
        (GOOD | {"question": " "}, "text: ", "at least 1 character"),
        ({"id": "x", "class": "回忆"}, "missing field 'question'", ""),
        ('{"id": "x", "question', "not JSON", ""),
        ("回忆".encode("gbk"), "not UTF-8", "save the file as UTF-8"),
    ],
    ids=["unknown label", "empty text", "missing field", "broken line", "not UTF-8"],
)
def test_a_bad_line_is_named(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    line: Any,
    reason: str,
    remedy: str,
) -> None:
    path = place / "problems.jsonl"
    number = len(path.read_text(encoding="utf-8").splitlines()) + 1
    if isinstance(line, dict):
        line = json.dumps(line, ensure_ascii=False)
    with path.open("ab") as file:
        file.write(line if isinstance(line, bytes) else line.encode())
    message = _refuse(place, capsys, command)
    assert f"{path}:{number}: {reason}" in message and remedy in message


def test_a_class_smaller_than_the_folds_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = _refuse(place, capsys, "train", "evaluation.folds=7")
    assert "class 'I-Q' of 'irf' has 6 examples" in message
    assert "add examples or lower evaluation.folds" in message


@pytest.mark.parametrize("command", ["train", "crossvalidate", "report", "export"])
def test_a_place_that_cannot_be_written_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (place / "file").write_text("")
    message = _refuse(place, capsys, command, f"work={place}/file/work")
    assert f"{place}/file/work: cannot be made" in message and "choose another `work`" in message


@pytest.mark.parametrize("command", ["report", "export"])
def test_nothing_to_report_or_export_yet(
    place: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    message = _refuse(place, capsys, command)
    assert "fold-0.npz: not trained yet; run `ncal " in message


def test_a_report_that_does_not_fit_leaves_the_old_one(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(place / "recipe.yaml")
    source = f"{{path: {place}/problems.jsonl, format: tmwpl, task: timss}}"
    command = ["--recipe", recipe, "optimisation.epochs=1", "report_to=[]", f"sources=[{source}]"]
    assert main(["crossvalidate", *command]) == 0
    before = {path: path.read_bytes() for path in (place / "work" / "report").iterdir()}
    assert len(before) == 2 + 4 + 1
    assert "timss (retrospective): macro recall 0." in capsys.readouterr().out
    with no_space(20_000):
        assert main(["report", *command]) == 2
    message = capsys.readouterr().err
    assert "the report cannot be written" in message and "free space" in message
    assert {path: path.read_bytes() for path in (place / "work" / "report").iterdir()} == before
    assert not list(place.rglob("*.partial*"))
    assert main(["report", *command]) == 0
    assert {path: path.read_bytes() for path in (place / "work" / "report").iterdir()} == before


def test_a_damaged_fold_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = place / "work"
    work.mkdir()
    for fold in (0, 1):
        (work / f"fold-{fold}.npz").write_bytes(b"PK\x03\x04 cut off")
    message = _refuse(place, capsys, "report")
    assert "fold-0.npz: cannot be read" in message and "remove it to train it anew" in message


def test_processes_that_share_a_run_write_its_files_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: write_text(path, "the same"), range(400)))
    assert path.read_text(encoding="utf-8") == "the same"
    assert list(tmp_path.iterdir()) == [path]
