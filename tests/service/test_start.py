"""What is read before anything is loaded: settings, checkpoints, environment."""

import json
import shutil
import struct
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
    head = json.dumps({"__metadata__": {"of": folder.name}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
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


def test_two_checkpoints_of_one_task_need_two_names(tmp_path: Path) -> None:
    one, two = write_checkpoint(tmp_path / "a"), write_checkpoint(tmp_path / "b")
    with pytest.raises(CheckpointError, match=r"are called example; .* --checkpoint NAME="):
        load_checkpoints([one, two])
    old, new = load_checkpoints([one, Path(f"next={two}")])
    assert (old.name, new.name, new.directory) == ("example", "next", two)
    with pytest.raises(CheckpointError, match="the same checkpoint"):
        load_checkpoints([one, Path(f"next={one}")])
    with pytest.raises(CheckpointError, match="can be called 'default'"):
        load_checkpoints([Path(f"default={one}")])


def test_a_directory_with_a_sign_in_its_name_is_no_alias(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "rate=0.1")
    (checkpoint,) = load_checkpoints([folder])
    assert (checkpoint.name, checkpoint.directory) == ("example", folder)


def test_two_checkpoints_must_mean_the_same_labels(tmp_path: Path) -> None:
    one = write_checkpoint(tmp_path / "a")
    fewer = IRF.model_copy(update={"labels": IRF.labels[:-1]})
    other = write_checkpoint(tmp_path / "b", name="other", tasks=[make_task(fewer)])
    with pytest.raises(CheckpointError, match="serve task 'irf' with different labels"):
        load_checkpoints([one, other])


def test_a_default_must_be_one_of_the_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_checkpoint(tmp_path / "a")
    two = f"next={write_checkpoint(tmp_path / 'b')}"
    given = ["--check", "--checkpoint", str(one), "--checkpoint", two, "--default-model"]
    fingerprint = load_checkpoints([one])[0].manifest.fingerprint
    for named in ("next", "example", fingerprint):
        assert main([*given, named]) == ExitCode.CHECKED
    capsys.readouterr()
    assert main([*given, "nextt"]) == ExitCode.REFUSED
    said = capsys.readouterr().err
    assert "--default-model" in said and "example" in said and "next" in said


def test_a_host_that_cannot_be_bound_names_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1:0 .*--port"):
        bind_socket(Settings(host="192.0.2.1", port=0))
