"""`ncal models`: what checkpoints there are, from their manifests."""

import shutil
from pathlib import Path

import pytest

from contract.manifest import GRAPH_NAME, MANIFEST_NAME, read_manifest
from engine.checkpoint import BUNDLED_CHECKPOINT
from service import model_list
from service.model_list import main


def test_the_bundled_checkpoint_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_manifest(BUNDLED_CHECKPOINT, verify_weights=False)
    assert main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{manifest.name} {manifest.fingerprint}, 17.")
    assert all(f"{task.label_set.task}: " in said for task in manifest.tasks)
    assert said.count("probabilities within") == len(manifest.parity)


def test_a_folder_is_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One without a graph, which the embedded engine would refuse, says so."""
    directory = tmp_path / "models" / "mine"
    directory.mkdir(parents=True)
    shutil.copy(BUNDLED_CHECKPOINT / MANIFEST_NAME, directory)
    assert main([str(tmp_path)]) == 0
    listed = capsys.readouterr().out.split("\n\n")[1]
    assert f"folder   {directory}" in listed and f"no {GRAPH_NAME}" in listed


def test_what_is_no_checkpoint_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "name a folder of checkpoints" in capsys.readouterr().err
    (tmp_path / MANIFEST_NAME).write_text("{}", encoding="utf-8")
    assert main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "states no format_version" in line


def test_a_checkpoint_that_cannot_be_read_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_list, "BUNDLED_CHECKPOINT", tmp_path / "gone")
    (tmp_path / "mine").mkdir()
    shutil.copy(BUNDLED_CHECKPOINT / MANIFEST_NAME, tmp_path / "mine")
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert f"folder   {tmp_path / 'mine'}" in said.out
    (line,) = said.err.splitlines()
    assert "gone is no checkpoint" in line
