"""Whose judgement it is: kept folds of a training, and answers that stand in the file."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.training.audit.rows import WORDS, make_rows, write_table
from training.__main__ import main
from training.audit.answers import judge_by_answers
from training.audit.findings import find_doubted
from training.audit.judgement import judge_by_ngrams, vectorize
from training.audit.kept import read_kept
from training.audit.rows import read_table_rows
from training.checkpoints.work_folder import claim_work
from training.data.examples import read_examples, read_label_sets
from training.evaluation.crossvalidate import fold_file
from training.evaluation.folds import deal_examples
from training.files import write_arrays
from training.proposal.label_set import infer_label_set, write_label_set
from training.recipe.recipe import ColumnNames, TrainRecipe


def _make_recipe(folder: Path, table: Path, labels: list[str]) -> TrainRecipe:
    label_set = folder / "label-set.yaml"
    write_label_set(infer_label_set("talk", "problem", labels, "here"), label_set)
    columns = {"text": "text", "label": "label"}
    return TrainRecipe.model_validate(
        {
            "name": "talk",
            "backbone": str(folder),
            "output": folder / "checkpoint",
            "work": folder / "work",
            "sources": [{"path": table, "format": "table", "task": "talk", "columns": columns}],
            "label_sets": [label_set],
            "prompt": {"version": "compact-1", "max_tokens": 64},
            "lora": None,
            "loss": {"name": "logit-adjusted"},
            "optimisation": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
            "evaluation": {"folds": 3},
        }
    )


def _keep_scores(recipe: TrainRecipe, wrong: dict[int, int]) -> None:
    """Folds as `ncal crossvalidate` keeps them, of a model that is right but for its slips: it
    takes the items in `wrong` for another class."""
    claim_work(recipe)
    label_sets = read_label_sets(recipe.label_sets)
    examples = read_examples(recipe.sources, label_sets, folds=recipe.evaluation.folds)
    numbers = deal_examples(recipe, examples)
    rng = np.random.default_rng(0)
    scores = rng.normal(0.0, 0.5, (len(examples), len(WORDS))).astype(np.float32)
    for place, example in enumerate(examples):
        scores[place, wrong.get(place, example.label)] += 4.0
    for fold in range(recipe.evaluation.folds):
        own = scores[numbers == fold]
        arrays = {"retrospective": own, "live": own, "shift": np.zeros(len(WORDS), np.float32)}
        write_arrays(fold_file(recipe, fold), arrays)


def test_kept_folds_speak_for_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(40)
    table = write_table(tmp_path / "talk.csv", rows)
    recipe = _make_recipe(tmp_path, table, [label for _, label in rows])
    names = [label.data_label for label in read_label_sets(recipe.label_sets)["talk"].labels]
    slips = {place: (names.index(rows[place][1]) + 1) % 3 for place in (4, 30, 77)}
    _keep_scores(recipe, slips)
    ((_, judgement),) = read_kept(recipe.work)
    labels = np.array([names.index(label) for _, label in rows])
    assert find_doubted(labels, judgement).items() >= slips.items()
    assert main(["audit", "--work", str(recipe.work)]) == 0
    with (recipe.work / "audit.csv").open(encoding="utf-8-sig", newline="") as file:
        review = list(csv.DictReader(file))
    assert {int(row["row"]) - 2 for row in review[:3]} == set(slips)
    assert review[0]["file"] == "talk.csv" and "talk: " in review[0]["why"]
    tested = recipe.model_copy(update={"test": recipe.sources, "work": tmp_path / "tested"})
    claim_work(tested)
    assert main(["audit", "--work", str(tested.work)]) == 2
    assert "ncal audit FILE" in capsys.readouterr().err
    write_table(table, rows[:-1])
    assert main(["audit", "--work", str(recipe.work), "--overwrite"]) == 2
    assert "another run" in capsys.readouterr().err


def _write_answers(path: Path, rows: list[tuple[str, str]], answers: list[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", *(f"ncal_p_{label}" for label in WORDS)])
        for (text, label), answer in zip(rows, answers, strict=True):
            shares = [0.9 if each == answer else 0.05 for each in WORDS] if answer else [""] * 3
            writer.writerow([text, label, *shares])
    return path


def test_answers_of_the_file_are_read_and_the_caution_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(20)
    answers = [label for _, label in rows]
    answers[7] = "order" if answers[7] != "order" else "praise"
    answers[9] = ""
    table = _write_answers(tmp_path / "a.csv", [(t, each.upper()) for t, each in rows], answers)
    own, plain = read_table_rows(table, ColumnNames())
    named, judgement = judge_by_answers(own, plain, "ncal_")
    assert list(named.names) == list(WORDS)
    assert find_doubted(named.labels, judgement) == {7: list(WORDS).index(answers[7])}
    assert main(["audit", str(table), "--answers", "ncal_"]) == 0
    said = capsys.readouterr().out
    assert "only if their model was not trained on these labels" in said
    assert "1 rows could not be judged: the row has no answer" in said


def test_a_label_that_the_answers_do_not_know_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(20)
    table = _write_answers(tmp_path / "a.csv", rows, [label for _, label in rows])
    assert main(["audit", str(table), "--answers", "x_"]) == 2
    assert "x_p_" in capsys.readouterr().err
    rows[3] = rows[3][0], "chatter"
    table = _write_answers(tmp_path / "a.csv", rows, [label for _, label in rows])
    assert main(["audit", str(table), "--answers", "ncal_"]) == 2
    assert "a.csv:5" in capsys.readouterr().err


def test_ngrams_have_not_seen_what_they_judge(tmp_path: Path) -> None:
    """Labels dealt at random cannot be foretold by who has not seen them."""
    rng = np.random.default_rng(0)
    rows = [(text, str(rng.integers(2))) for text, _ in make_rows(60)]
    _, table = read_table_rows(write_table(tmp_path / "a.csv", rows), ColumnNames())
    judgement = judge_by_ngrams(table, table.labels, vectorize(table))
    right = judgement.probabilities.argmax(axis=1) == table.labels
    assert 0.35 < right.mean() < 0.65
    assert len(judgement.judged) == len(rows)
