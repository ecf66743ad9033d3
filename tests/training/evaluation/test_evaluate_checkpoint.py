"""`evaluate` and `calibrate` on a tiny checkpoint, through the command line."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification

from contract.labels import IRF, TIMSS
from contract.manifest import WEIGHTS_NAME, Manifest, Task, hash_file, read_manifest, write_manifest
from contract.predictions import calibrate_logits, predict_set
from tests.training.tiny import make_backbone, make_data, make_recipe, write_lines
from training.__main__ import main
from training.checkpoints.read_checkpoint import open_checkpoint, read_labelled, score_modes
from training.data.examples import assign_rows
from training.errors import BadInput
from training.models.model import load_classifier, load_tokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained decoder written as a checkpoint, and data it has not seen."""
    place = tmp_path_factory.mktemp("checkpoint")
    make_backbone(place / "backbone")
    make_data(place, per_class=12)
    folder = place / "checkpoint"
    tokenizer = load_tokenizer(str(place / "backbone"))
    torch.manual_seed(1)
    model = load_classifier(str(place / "backbone"), tokenizer, [TIMSS, IRF])
    with torch.no_grad():
        model.score.weight *= 20.0  # an untrained head answers nearly alike whatever it reads
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = assign_rows([TIMSS, IRF])
    tasks = tuple(
        Task(
            label_set=label_set,
            rows=tuple(rows[label_set.task]),
            temperature=1.7,
            biases=tuple(0.1 * index for index in range(len(label_set.labels))),
            training_prior=tuple(np.arange(1, n + 1) / np.arange(1, n + 1).sum()),
            conformal_thresholds=(0.1,) * n,
            conformal_coverage=0.9,
            prompt_version="compact-1",
            max_tokens=64,
        )
        for label_set, n in ((TIMSS, 7), (IRF, 8))
    )
    card = {
        "licence": "mit", "languages": ["zh"], "command": "make it", "data": [], "behaviour": True,
    }  # fmt: skip
    make_recipe(place, card=card).write(folder / "recipe.yaml")
    manifest = Manifest(
        name="tiny", created="2026-01-31", base_model="backbone", tasks=tasks,
        losses={"name": "logit-adjusted"}, data_sha256={"problems.jsonl": "b" * 64},
        weights_sha256=hash_file(folder / WEIGHTS_NAME),
    )  # fmt: skip
    write_manifest(manifest, folder)
    return place


def _run(place: Path, command: str, task: str, *options: str | Path) -> int:
    file, format = {"timss": ("problems", "tmwpl"), "irf": ("turns", "pmtd")}[task]
    return main([
        command, "--checkpoint", str(place / "checkpoint"), "--data", str(place / f"{file}.jsonl"),
        "--format", format, "--task", task, *map(str, options),
    ])  # fmt: skip


def test_evaluation_is_what_the_service_would_answer(place: Path, tmp_path: Path) -> None:
    """Recomputed item by item with the arithmetic of the contract."""
    assert _run(place, "evaluate", "irf", "--output", tmp_path / "report") == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text(encoding="utf-8"))
    assert set(results) == {"irf/retrospective", "irf/live"}
    manifest, head = open_checkpoint(place / "checkpoint", "irf")
    examples = read_labelled([place / "turns.jsonl"], "pmtd", head, place)
    logits = score_modes(place / "checkpoint", head, [each.item for each in examples])
    for mode, scores in logits.items():
        hits, sizes = [], []
        for row, example in zip(scores, examples, strict=True):
            probabilities = calibrate_logits(head, [float(value) for value in row])
            hits.append(int(np.argmax(probabilities)) == example.label)
            sizes.append(len(predict_set(head, probabilities)))
        result = results[f"irf/{mode}"]
        assert result["items"] == 96 and result["temperature"] == 1.7
        assert result["accuracy"] == pytest.approx(np.mean(hits))
        assert result["sets"]["set_size_of_items"] == pytest.approx(np.mean(sizes))
    assert not np.array_equal(logits["live"], logits["retrospective"])
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert f"Checkpoint tiny ({manifest.fingerprint}) on 96 items of turns.jsonl" in text
    assert (tmp_path / "report" / "irf-live-confusion.png").exists()


def test_evaluation_without_texts_that_recur(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (place / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    seen = [json.loads(line) for line in lines[:10]]
    for record in seen:
        record["question"] = f" {record['question']}！"
    write_lines(tmp_path / "train.jsonl", seen)
    assert _run(place, "evaluate", "timss", "--train", tmp_path / "train.jsonl") == 0
    out = capsys.readouterr().out
    assert "The texts of 10 of them recur in the training files." in out
    assert re.search(r"^timss/retrospective +84 ", out, re.MULTILINE)
    assert re.search(
        r"^timss/retrospective, less texts that recur in training +74 ", out, re.MULTILINE
    )


def test_evaluation_says_when_the_data_were_trained_on(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "own.jsonl", [{"id": "1", "question": "几条边", "class": "回忆"}])
    folder = place / "checkpoint"
    manifest = read_manifest(folder)
    write_manifest(
        manifest.model_copy(update={"data_sha256": {"x": hash_file(tmp_path / "own.jsonl")}}),
        folder,
    )
    command = ["--checkpoint", str(folder), "--data", str(tmp_path / "own.jsonl")]
    command += ["--format", "tmwpl", "--task", "timss"]
    try:
        assert main(["evaluate", *command]) == 0
        assert "It was trained on own.jsonl" in capsys.readouterr().out
        assert main(["calibrate", *command, "--output", str(tmp_path / "new")]) == 2
        assert "calibrate on data it has not seen" in capsys.readouterr().err
    finally:
        write_manifest(manifest, folder)


def test_calibration_writes_a_new_checkpoint_and_leaves_the_old(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_manifest(place / "checkpoint")
    output = tmp_path / "calibrated"
    assert _run(place, "calibrate", "irf", "--output", output, "--coverage", "0.8", "--prior") == 0
    assert read_manifest(place / "checkpoint") == before
    after = read_manifest(output)
    assert after.task("timss") == before.task("timss")
    head = after.task("irf")
    assert head.conformal_coverage == 0.8
    assert head.training_prior == pytest.approx((1 / 8,) * 8)
    assert head.temperature != before.task("irf").temperature
    assert head.biases != before.task("irf").biases and len(head.biases) == 8
    assert after.weights_sha256 == before.weights_sha256
    crossed = head.evaluation["live"]["cross_fit"]
    assert crossed["folds"] == 5 and crossed["sets"]["target"] == 0.8
    assert abs(crossed["sets"]["coverage"] - 0.8) < 0.15
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "Task `irf` was calibrated anew on turns.jsonl (96 items)" in card
    assert f"### irf, tiny ({after.fingerprint})\n\n| test | items |" in card
    AutoModelForSequenceClassification.from_pretrained(output)
    assert f"{head.temperature:.3f} now" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.partial"))


def test_calibration_is_nearer_the_truth(place: Path, tmp_path: Path) -> None:
    """The likelihood of held-out labels is higher at the fitted temperature."""
    assert _run(place, "calibrate", "timss", "--output", tmp_path / "new") == 0
    scores = read_manifest(tmp_path / "new").task("timss").evaluation["retrospective"]["cross_fit"]
    assert scores["after"]["nll_uniform"] < scores["before"]["nll_uniform"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--task", "other"], "serves no task 'other'; it has: timss, irf"),
        (["--checkpoint", "nowhere"], "nowhere is no checkpoint"),
        (["--coverage", "1.5"], "must lie between 0 and 1"),
        (["--folds", "1"], "cross-fitting needs 2 or more"),
        (["--folds", "13"], "fewer than the 13 folds; add examples or lower --folds"),
        (["--data", "nothing.jsonl"], "nothing.jsonl: no such file"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    """The last of an option given twice counts."""
    assert _run(place, "calibrate", "timss", "--output", tmp_path / "new", *options) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1 and reason in message
    assert list(tmp_path.iterdir()) == []


def test_a_label_set_of_another_checkpoint_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "x.jsonl", [{"id": "1", "question": "1+1", "class": "难题"}])
    options = ["--data", str(tmp_path / "x.jsonl")]
    assert _run(place, "evaluate", "timss", *options, "--output", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "x.jsonl:1: unknown label '难题'; the label set 'timss' has: 回忆" in message
    assert "relabel the data" in message
    assert not (tmp_path / "out").exists()


def test_rows_beyond_the_head_are_refused(place: Path) -> None:
    _, head = open_checkpoint(place / "checkpoint", "irf")
    far = head.model_copy(update={"rows": tuple(range(8, 16))})
    with pytest.raises(BadInput, match="row 15 of a head of 15 rows"):
        score_modes(place / "checkpoint", far, [])


def test_a_folder_in_the_way_is_left_alone(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    assert _run(place, "calibrate", "timss", "--output", tmp_path / "new") == 2
    assert "a checkpoint is never overwritten" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert _run(place, "calibrate", "timss", "--output", tmp_path / "file" / "new") == 2
    assert "choose another place" in capsys.readouterr().err


def test_a_copy_takes_the_place_of_a_link(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "a").mkdir()
    recipe = place / "checkpoint" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    try:
        recipe.write_text(yaml.safe_dump(yaml.safe_load(text) | {"card": None}), encoding="utf-8")
        assert _run(place, "calibrate", "timss", "--output", tmp_path / "a" / "new") == 0
    finally:
        recipe.write_text(text, encoding="utf-8")
    read_manifest(tmp_path / "a" / "new")
    assert not (tmp_path / "a" / "new" / "README.md").exists()
