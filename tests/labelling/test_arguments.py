"""What `make label` passes on is what the command takes."""

import shlex
import subprocess
from pathlib import Path

import pytest

from engine.checkpoint import BUNDLED_CHECKPOINT
from labelling.arguments import parse_arguments
from tests.test_layout import ROOT


def read_words(*variables: str) -> list[str]:
    """Words that `make label` would run the command with."""
    done = subprocess.run(
        ["make", "--dry-run", "label", "FILE=my problems.csv", *variables],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = shlex.split(done.stdout.splitlines()[-1])
    return words[words.index("labelling") + 1 :]


def test_make_label_serves_the_bundled_checkpoint() -> None:
    options = parse_arguments(read_words())
    assert options.file == [Path("my problems.csv")] and options.url is None
    assert options.checkpoint == BUNDLED_CHECKPOINT


def test_make_label_can_name_a_service_that_runs() -> None:
    options = parse_arguments(read_words("LABEL_ARGS=--url http://127.0.0.1:8000"))
    assert options.url == "http://127.0.0.1:8000"


def test_make_label_can_name_a_checkpoint() -> None:
    assert parse_arguments(read_words("CHECKPOINT=my model")).checkpoint == Path("my model")


def test_a_checkpoint_and_a_service_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(read_words("CHECKPOINT=model", "LABEL_ARGS=--url http://127.0.0.1:8000"))
    assert "--url: not allowed with argument --checkpoint" in capsys.readouterr().err


def test_a_model_is_chosen_at_a_service_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["problems.csv", "--model", "next"])
    assert "name it with --url" in capsys.readouterr().err
