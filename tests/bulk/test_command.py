"""Who has one machine needs nothing of it; who lacks what it needs is told the remedy."""

import importlib.util
import subprocess
import sys

import pytest

from ncal.command import main
from tests.test_layout import ROOT


def test_labelling_and_serving_import_nothing_of_it() -> None:
    code = (
        "import sys, ncal.command, labelling.command, service.process;"
        "sys.exit(bool({'ray', 'bulk', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("option", [["--ray", "auto"], ["--ray=auto"]])
def test_without_ray_the_remedy_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["label", "in", "--output", "out", *option]) == 2
    told = capsys.readouterr().err
    assert told.startswith("label: --ray needs ray and pyarrow, not installed here; install")
    assert "`uv tool install '.[bulk]'`" in told and told.count("\n") == 1


def test_an_output_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["label", "in", "--ray", "local"])
    assert end.value.code == 2
    assert "--output" in capsys.readouterr().err
