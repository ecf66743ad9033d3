"""A stranger's table becomes a checkpoint that the embedded engine serves, by one command."""

import json
import random
from pathlib import Path

import pytest
import yaml

from contract.inputs import Problem
from contract.manifest import read_manifest
from engine.checkpoint import load_checkpoints, load_prompt_encoders
from engine.openvino import score_offline
from tests.training.stand_in_hub import TOKEN, run_hub
from tests.training.tiny import make_backbone
from training.__main__ import main
from training.checkpoints import parity

WORDS = {"Praise": "很好", "Ask why": "为什么？", "other": "听得见吗"}
SMALL = ("optimisation.epochs=6", "optimisation.learning_rate=0.01", "optimisation.bf16=false",
         "optimisation.compile=false", "evaluation.folds=2", "evaluation.parity_items=10",
         "prompt.max_tokens=64")  # fmt: skip


def write_table(path: Path, count: int = 24) -> None:
    rng = random.Random(0)
    rows = [f"{word}{number},{label}" for label, word in WORDS.items() for number in range(count)]
    rng.shuffle(rows)
    path.write_text("sentence,label\n" + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stranger works: a backbone, a table, and no vLLM."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parity, "has_vllm", lambda: False)
    make_backbone(tmp_path / "backbone")
    write_table(tmp_path / "talk moves.csv")
    return tmp_path


def test_one_command_makes_a_checkpoint_that_is_served(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "talk moves.csv", "--name", "talk", "--backbone", "backbone"]
    assert main([*arguments, *SMALL]) == 0
    said = capsys.readouterr().out
    assert "text in column 'sentence', label in 'label'" in said
    assert "folds are dealt at random" in said  # texts of a label differ by their number alone
    assert "ncal serve --checkpoint" in said
    assert "fold 1 of 2" in said and "fold 2 of 2" in said
    manifest = read_manifest(home / "build/checkpoints/talk")
    measured = manifest.task("talk").evaluation["retrospective"]
    assert (measured["measured_on"], measured["items"]) == ("cross-validation", 72)
    assert manifest.parity[0].engine.startswith("openvino ")
    task = manifest.task("talk")
    assert set(task.label_set.ids) == {"Praise", "Ask-why", "other"}
    (checkpoint,) = load_checkpoints([home / "build/checkpoints/talk"])
    prompts = load_prompt_encoders(checkpoint)["talk"].encode([Problem(text="为什么？7")])
    scores = score_offline(
        checkpoint.directory, [prompts[0].token_ids], dtype="float32", threads=1
    )[0]
    best = max(task.rows, key=lambda row: scores[row])
    assert task.label_set.labels[task.rows.index(best)].data_label == "Ask why"
    assert main(["audit", "--work", "build/talk/work"]) == 0
    assert "folds were dealt at random" in capsys.readouterr().out
    assert (home / "build/talk/work/audit.csv").read_text(encoding="utf-8-sig").startswith("rank,")
    write_table(home / "test.csv", count=3)
    arguments = ["train", "--recipe", "build/talk/recipe.yaml", "--test", "test.csv"]
    assert main([*arguments, *SMALL]) == 0
    assert "fold 1 of 2" not in capsys.readouterr().out  # what is kept is not trained again
    assert (home / "build/talk/work/test/report.md").exists()
    tested = read_manifest(home / "build/checkpoints/talk").task("talk")
    measured = tested.evaluation["retrospective"]
    assert (measured["measured_on"], measured["items"]) == ("one fold", 36)
    assert measured["test"]["items"] == 9


def test_files_of_ones_own_take_the_place_of_cross_validation(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(home / "dev.csv", count=5)
    write_table(home / "test.csv", count=3)
    arguments = ["train", "talk moves.csv", "--name", "talk", "--backbone", "backbone"]
    arguments += ["--dev", "dev.csv", "--test", "test.csv", "--push-to-hub", "stranger/talk"]
    with run_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert main([*arguments, *SMALL]) == 0
    said = capsys.readouterr().out
    assert "calibrated and measured on dev.csv, without cross-validation" in said
    assert "fold" not in said and f"pushed to {hub.address}/stranger/talk" in said
    checkpoint = home / "build/checkpoints/talk"
    task = read_manifest(checkpoint).task("talk")
    measured = task.evaluation["retrospective"]
    assert (measured["measured_on"], measured["items"]) == ("dev", 15)
    assert measured["test"]["items"] == 9 and list(measured["test"]["files"]) == ["test.csv"]
    card = (checkpoint / "README.md").read_text(encoding="utf-8")
    assert "dev.csv, which the weights here were not trained on" in card
    assert "Rows that say `test` are of test.csv" in card
    assert "| talk/retrospective, test | 9 |" in card
    (model,) = yaml.safe_load(card.split("---\n")[1])["model-index"]
    splits = {each["dataset"]["split"] for each in model["results"]}
    assert splits == {"validation", "test"}
    report = (home / "build/talk/work/report/report.md").read_text(encoding="utf-8")
    assert "dev.csv, which the weights here were not trained on" in report
    tested = (home / "build/talk/work/test/report.md").read_text(encoding="utf-8")
    assert "on 9 items of test.csv: nothing was learned" in tested
    assert hub.repositories["stranger/talk"]["README.md"].decode() == card


def test_a_label_set_that_was_filled_in_is_kept_and_another_recipe_is_not_overwritten(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "talk moves.csv", "--name", "talk", "--backbone", "backbone", "--check"]
    assert main([*arguments, *SMALL]) == 0
    labels = home / "build/talk/label-set.yaml"
    labels.write_text(labels.read_text(encoding="utf-8").replace("Not written yet.", "Mine."))
    assert main([*arguments, *SMALL]) == 0
    assert "Mine." in labels.read_text(encoding="utf-8")
    recipe = home / "build/talk/recipe.yaml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("epochs: 20", "epochs: 2"))
    capsys.readouterr()
    assert main([*arguments, *SMALL]) == 2
    assert "--recipe build/talk/recipe.yaml" in capsys.readouterr().err
    assert main(["train", "--recipe", str(recipe), "--check", *SMALL]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train"], "one of them"),
        (["train", "a.csv", "--recipe", "b.yaml"], "one of them"),
        (["train", "none.csv"], "none.csv"),
        (["train", "talk moves.csv", "--label", "sentence"], "--label"),
        (["train", "talk moves.csv", "--text", "words"], "no column words"),
        (["train", "talk moves.csv", "--name", "talk moves"], "a name has letters"),
        (["train", "talk moves.csv", "--dev", "none.csv"], "none.csv"),
        (["train", "data/train.csv"], "data/train.csv"),
    ],
)
def test_what_is_missing_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said and "\n" not in said


def test_the_form_of_ncal_s_own_example_is_read(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON array of conversations, as its `train_example.json`."""
    records = [
        {"conversation": [{"role": "user", "content": f"{word}{number}"}], "label": label}
        for label, word in WORDS.items()
        for number in range(6)
    ]
    (home / "train_example.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    arguments = ["train", "train_example.json", "--backbone", "backbone", "--check"]
    assert main([*arguments, *SMALL]) == 0
    said = capsys.readouterr().out
    assert "train_example.json: 18 problems" in said and "in order, 18 examples" in said
    records[3]["conversation"] = []
    (home / "other.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    assert main(["train", "other.json", "--backbone", "backbone", "--check"]) == 2
    said = capsys.readouterr().err
    assert "the conversation has no user message" in said and "other.json:" in said


def test_a_name_is_made_of_the_file_s(home: Path) -> None:
    assert main(["train", "talk moves.csv", "--backbone", "backbone", "--check", *SMALL]) == 0
    assert (home / "build/talk-moves/recipe.yaml").exists()
