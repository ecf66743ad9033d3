"""What is read before anything is loaded: settings, checkpoints, environment."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from contract.labels import IRF
from contract.manifest import CheckpointError, hash_file, write_manifest
from engine.checkpoint import load_checkpoints
from service.command import main
from service.exit_codes import ExitCode
from service.process import bind_socket
from service.settings import Settings, SettingsError, read_settings
from tests.contract.examples import make_manifest, make_task


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NCAL_CHECKPOINT", raising=False)


def write_checkpoint(folder: Path, **changes: Any) -> Path:
    """A directory that passes every check, with weights that are none."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights of " + folder.name.encode())
    config = {"id2label": {str(row): "x" for row in range(15)}, "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps(config))
    digest = hash_file(folder / "model.safetensors")
    write_manifest(make_manifest(weights_sha256=digest, **changes), folder)
    return folder


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCAL_PORT", "1234")
    monkeypatch.setenv("NCAL_CHECKPOINT", "a, b")
    settings = read_settings(["--port", "4321", "--max-batch-items", "5"])
    assert (settings.port, settings.max_batch_items) == (4321, 5)
    assert settings.checkpoint == (Path("a"), Path("b"))
    assert read_settings(["--checkpoint", "c", "--checkpoint", "d"]).checkpoint == (
        Path("c"),
        Path("d"),
    )


def test_the_bundled_checkpoint_is_the_default() -> None:
    (folder,) = Settings().checkpoint
    assert folder.parts[-3:] == ("service", "checkpoints", "ncal-mini")


@pytest.mark.parametrize(
    ("arguments", "environment", "parts"),
    [
        (["--port", "99999"], {}, ["--port", "NCAL_PORT", "65535"]),
        ([], {"NCAL_PORT": "x"}, ["--port", "integer"]),
        (["--unknown", "1"], {}, ["--unknown", "--help"]),
        ([], {"NCAL_CHEKPOINT": "x"}, ["NCAL_CHEKPOINT", "NCAL_CHECKPOINT"]),
        (["--request-timeout-s", "900"], {}, ["max_request_timeout_s"]),
        (["--dtype", "int8"], {}, ["--dtype", "float32"]),
    ],
)
def test_a_wrong_setting_names_itself_and_the_remedy(
    arguments: list[str],
    environment: dict[str, str],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings(arguments)
    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"


def test_a_good_checkpoint_is_loaded(tmp_path: Path) -> None:
    (checkpoint,) = load_checkpoints([write_checkpoint(tmp_path / "a")])
    assert (checkpoint.name, checkpoint.classes, checkpoint.max_tokens) == ("example", 15, 128)


def break_nothing_there(folder: Path) -> None:
    shutil.rmtree(folder)


def break_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"other")


def break_rows(folder: Path) -> None:
    write_config(folder, id2label={"0": "x"}, max_position_embeddings=128)


def break_positions(folder: Path) -> None:
    write_config(folder, id2label=dict.fromkeys(map(str, range(15))), max_position_embeddings=64)


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def break_version(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))


def write_config(folder: Path, **content: Any) -> None:
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (break_nothing_there, "is not there; name a checkpoint directory"),
        (break_weights, "sha256 differs"),
        (break_rows, "has 1 rows, the manifest reads row 14"),
        (break_positions, "allows 64 positions"),
        (break_config, "cannot be used"),
        (break_version, "update NCAL Serve"),
    ],
)
def test_a_checkpoint_that_must_not_be_served_is_refused(
    spoil: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_checkpoint(tmp_path / "a")
    spoil(folder)
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoints([folder])
    assert main(["--checkpoint", str(folder)]) == ExitCode.REFUSED
    printed = capsys.readouterr()
    assert reason in printed.err and printed.err.count("\n") == 1


def test_a_check_ends_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_checkpoint(tmp_path / "a")
    assert main(["--check", "--checkpoint", str(folder)]) == ExitCode.CHECKED == 0
    assert capsys.readouterr().out == "in order: example\n"
    (tmp_path / "empty").mkdir()
    assert main(["--check", "--checkpoint", str(tmp_path / "empty")]) == ExitCode.REFUSED
    assert "manifest.json" in capsys.readouterr().err


def test_two_checkpoints_must_not_share_a_task_or_a_name(tmp_path: Path) -> None:
    one = write_checkpoint(tmp_path / "a")
    with pytest.raises(CheckpointError, match="both serve task 'timss'"):
        load_checkpoints([one, write_checkpoint(tmp_path / "b", name="other")])
    irf = IRF.model_copy(update={"task": "moves"})
    other = write_checkpoint(tmp_path / "c", tasks=[make_task(irf)])
    with pytest.raises(CheckpointError, match="the same name"):
        load_checkpoints([one, other])


def test_a_host_that_cannot_be_bound_names_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:0 .*--port"):
        bind_socket(Settings(host="192.0.2.1", port=0))
