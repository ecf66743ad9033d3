"""A checkpoint goes up in one commit; what the hub refuses is told before training."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.training.stand_in_hub import TOKEN, StandInHub, run_hub
from training.checkpoints.push import check_pushable, push
from training.errors import BadInput


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with run_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("# a card", encoding="utf-8")
    recipe = {"name": "talk", "work": str(tmp_path / "work"), "sources": [{"path": str(tmp_path)}]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


def test_all_files_go_up_and_no_path_of_the_machine(hub: StandInHub, checkpoint: Path) -> None:
    check_pushable("school/talk")
    assert push(checkpoint, "school/talk") == f"{hub.address}/school/talk"
    pushed = hub.repositories["school/talk"]
    assert set(pushed) == {"model.safetensors", "README.md", "recipe.yaml"}
    assert pushed["model.safetensors"] == b"weights"
    recipe = yaml.safe_load(pushed["recipe.yaml"])
    assert recipe["work"] == "work" and recipe["sources"] == [{"path": checkpoint.parent.name}]
    assert hub.private["school/talk"]


@pytest.mark.parametrize(
    ("name", "token", "reason"),
    [
        ("talk", TOKEN, r"may write to school, stranger; name the repository as one of them/name"),
        ("else/talk", TOKEN, "may write to school, stranger"),
        ("school/talk", "hf_wrong", "hub answered 401; log in with a token that may"),
    ],
)
def test_what_would_fail_after_hours_is_told_before(
    hub: StandInHub, monkeypatch: pytest.MonkeyPatch, name: str, token: str, reason: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(BadInput, match=reason) as caught:
        check_pushable(name)
    assert "\n" not in str(caught.value)


def test_a_push_that_fails_says_how_to_go_on(hub: StandInHub, checkpoint: Path) -> None:
    hub.is_ill = True
    with pytest.raises(
        BadInput, match=r"the hub answered 403; log in .* or upload it later with `hf upload"
    ):
        push(checkpoint, "school/talk")
    assert (checkpoint / "model.safetensors").read_bytes() == b"weights"


def test_without_a_token_nothing_is_tried(
    hub: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="hf auth login"):
        check_pushable("school/talk")
