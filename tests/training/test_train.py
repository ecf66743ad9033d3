"""The whole run on a tiny decoder: learn, merge, calibrate, prove, write, go on, refuse."""

import json
import math
import resource
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import training.losses.objective
from contract.labels import BUILT_IN, IRF, TIMSS
from contract.manifest import GRAPH_NAME, Manifest, read_manifest
from contract.prompts import ContextWindow, Frame, PromptEncoder
from engine.graph_check import check_graph
from tests.training.tiny import make_recipe, write_lines
from training.__main__ import main
from training.checkpoints.export import export_checkpoint
from training.data.batches import ExampleEncoder, TrainingExamples, build_encoder
from training.data.examples import read_examples
from training.errors import BadInput
from training.evaluation.baseline import measure_baseline
from training.evaluation.crossvalidate import crossvalidate
from training.evaluation.cv_evaluation import evaluate
from training.evaluation.folds import split_folds
from training.evaluation.preparation import prepare
from training.files import read_arrays
from training.fit import LossError, fit
from training.models.model import load_tokenizer
from training.models.prediction import predict_scores
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def failure(workplace: Path) -> str:
    """What `train` says when all is trained and the disk is full by the time of the export."""
    recipe = make_recipe(workplace)
    recipe.write(workplace / "recipe.yaml")

    def fill_disk(*arguments: Any) -> Manifest:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))  # the weights do not fit
        try:
            return export_checkpoint(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as said:
        patch.setattr("training.train.export_checkpoint", fill_disk)
        assert main(["train", "--recipe", str(workplace / "recipe.yaml")]) == 2
    assert not recipe.output.exists() and not list(workplace.glob("*.partial"))
    return said.getvalue()


@pytest.fixture(scope="module")
def checkpoint(workplace: Path, failure: str) -> Path:
    """What `python -m training export` then makes of it, vLLM's proof included."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("training.evaluation.crossvalidate", "training.train"):
            patch.setattr(f"{module}.fit", refuse_training)
        assert main(["export", "--recipe", str(workplace / "recipe.yaml")]) == 0
    return make_recipe(workplace).output


def refuse_training(*_: Any, **__: Any) -> None:
    raise AssertionError("trained again")


def test_the_checkpoint_keeps_the_contract(checkpoint: Path, workplace: Path) -> None:
    manifest = read_manifest(checkpoint)
    assert [task.label_set for task in manifest.tasks] == [TIMSS, IRF]
    vllm, embedded, *drift = manifest.parity
    assert vllm.engine.startswith("vllm ") and vllm.max_probability_difference < 1e-3
    assert embedded.engine.startswith("openvino ") and embedded.max_probability_difference < 1e-5
    assert {proof.dtype for proof in (vllm, embedded)} == {"float32"}
    assert all((proof.dtype, proof.items) == ("bfloat16", embedded.items) for proof in drift)
    assert manifest.task("irf").rows == tuple(range(7, 15))
    assert set(manifest.task("irf").evaluation) == {"retrospective", "live"}
    assert set(manifest.data_sha256) == {"problems.jsonl", "turns.jsonl"}
    assert TrainRecipe.read(checkpoint / "recipe.yaml") == make_recipe(workplace)
    assert not list(checkpoint.parent.glob("checkpoint.*"))


def test_it_loads_unchanged_in_transformers(checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    assert model.config.architectures == ["LlamaForSequenceClassification"]
    assert model.config.id2label[0] == "timss/recall"
    assert model.config.id2label[14] == "irf/U"
    assert model.score.weight.shape == (15, 64) and model.score.bias is None
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.chat_template and tokenizer.padding_side == "right"


def test_it_has_a_graph_for_the_embedded_engine(checkpoint: Path) -> None:
    check_graph(checkpoint)
    assert (checkpoint / GRAPH_NAME).stat().st_size < 100_000


def test_it_has_learned(workplace: Path, checkpoint: Path) -> None:
    recipe = make_recipe(workplace)
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    manifest = read_manifest(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    encoder = build_encoder(load_tokenizer(str(checkpoint)), recipe.prompt, [TIMSS, IRF])
    scores = predict_scores(model.eval(), encoder.encode(examples), model.config.pad_token_id)
    hits = [
        scores[i, list(manifest.task(e.task).rows)].argmax() == e.label
        for i, e in enumerate(examples)
    ]
    assert np.mean(hits) > 0.5  # chance is about 1/7.5


def test_finished_folds_are_not_trained_again(
    workplace: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.crossvalidate.fit", refuse_training)
    recipe = make_recipe(workplace)
    label_sets, examples, tokenizer = prepare(recipe)
    held_out = crossvalidate(recipe, examples, label_sets, tokenizer)
    assert held_out["irf"]["live"].logits.shape == (48, 8)
    (recipe.work / "fold-1.npz").rename(recipe.work / "elsewhere.npz")
    with pytest.raises(AssertionError, match="trained again"):
        crossvalidate(recipe, examples, label_sets, tokenizer)
    (recipe.work / "elsewhere.npz").rename(recipe.work / "fold-1.npz")


def test_a_failed_export_says_how_to_make_it_good(checkpoint: Path, failure: str) -> None:
    assert f"{checkpoint}: cannot be written" in failure
    assert "then run `ncal export`: what was trained is kept" in failure


def test_work_of_another_run_is_refused(
    workplace: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(workplace / "recipe.yaml")
    for command in (["train"], ["train", "--check"], ["report"], ["export"]):
        assert main([*command, "--recipe", recipe, "optimisation.epochs=4"]) == 2
        message = capsys.readouterr().err
        assert "optimisation.epochs: 5 there, 4 now" in message
        assert "choose another `work`" in message
    data = workplace / "problems.jsonl"
    text = data.read_text(encoding="utf-8")
    try:
        data.write_text(text.replace("几条边", "几条线"), encoding="utf-8")
        assert main(["report", "--recipe", recipe]) == 2
        assert "sha256 of problems.jsonl" in capsys.readouterr().err
    finally:
        data.write_text(text, encoding="utf-8")
    assert main(["report", "--recipe", recipe, "export_dtype=float16", "name=other"]) == 0
    assert "irf (live): macro recall 0." in capsys.readouterr().out


def test_the_report_states_variants_and_shows_collapse(workplace: Path, checkpoint: Path) -> None:
    live = read_manifest(checkpoint).task("irf").evaluation["live"]
    assert live["zero_shot"]["items"] == live["items"] == 48
    folder = workplace / "work" / "report"
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "| irf/live, before training (zero-shot) | 48 |" in text
    assert "Features of one fold" in text.split("## timss/retrospective")[1]
    assert (folder / "timss-nc.png").exists() and (folder / "irf-nc.png").exists()


def test_what_recurs_in_training_is_known_by_fold(workplace: Path, tmp_path: Path) -> None:
    """Of two items of one text each is held out once while the other is trained on or not."""
    lines = (workplace / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    records += [record | {"id": f"{record['id']}+"} for record in records[:6]]
    write_lines(tmp_path / "problems.jsonl", records)
    source = {"path": tmp_path / "problems.jsonl", "format": "tmwpl", "task": "timss"}
    recipe = make_recipe(
        workplace, work=tmp_path / "work", sources=[source], optimisation={"epochs": 1}
    )
    baseline = measure_baseline(recipe)["timss"]
    label_sets, examples, tokenizer = prepare(recipe)
    _, evaluation = evaluate(recipe, label_sets, examples, tokenizer)
    beside = evaluation["timss"]["retrospective"]["beside_baseline"]["macro_recall"]
    own = evaluation["timss"]["retrospective"]["macro_recall"]
    assert beside["difference"] == pytest.approx(own - baseline["macro_recall"])
    assert "than the n-gram baseline" in (recipe.work / "report" / "report.md").read_text("utf-8")
    folds = split_folds(examples, 2, 0)
    parted = sum(2 for i in range(6) if folds[i] != folds[42 + i])
    assert parted > 0
    result = evaluation["timss"]["retrospective"]
    assert result["without_recurring"]["items"] == 48 - parted


def test_a_seed_repeats_a_run(workplace: Path, tmp_path: Path) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        recipe = make_recipe(workplace, optimisation={"seed": seed, "epochs": 1})
        label_sets, examples, tokenizer = prepare(recipe)
        return fit(recipe, examples, label_sets, tokenizer, run_folder=tmp_path).state_dict()

    first, second, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_full_fine_tuning_moves_every_weight(workplace: Path, tmp_path: Path) -> None:
    recipe = make_recipe(workplace, lora=None, optimisation={"epochs": 1})
    label_sets, examples, tokenizer = prepare(recipe)
    tuned = fit(recipe, examples, label_sets, tokenizer, run_folder=tmp_path).state_dict()
    start = AutoModelForSequenceClassification.from_pretrained(workplace / "backbone").state_dict()
    assert all(
        not torch.equal(tuned[name], start[name]) for name in start if name != "score.weight"
    )


def test_a_loss_that_is_no_number_stops_with_the_examples(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training.losses.objective, "classification_loss", lambda *_, **__: torch.tensor(math.nan)
    )
    recipe = make_recipe(workplace)
    label_sets, examples, tokenizer = prepare(recipe)
    with pytest.raises(LossError, match=r"step 0: the loss is nan; examples \S+\d, "):
        fit(recipe, examples, label_sets, tokenizer, run_folder=tmp_path)


def test_training_examples_depend_on_seed_and_epoch_alone(workplace: Path) -> None:
    recipe = make_recipe(workplace, augmentation={"drop_tokens": 0.5, "perturb_numbers": 1.0})
    label_sets, examples, tokenizer = prepare(recipe)

    def read(epoch: int) -> list[list[int]]:
        dataset = TrainingExamples(
            examples,
            build_encoder(tokenizer, recipe.prompt, label_sets),
            recipe.augmentation,
            0,
            [np.ones(1)] * len(examples),
        )
        dataset.set_epoch(epoch)
        return [dataset[index]["token_ids"] for index in range(len(dataset))]

    assert read(0) == read(0) != read(1)
    whole = build_encoder(tokenizer, recipe.prompt, label_sets).encode(examples)
    for changed, prompt in zip(read(0), whole, strict=True):
        assert (changed[0], changed[-1]) == (prompt.token_ids[0], prompt.token_ids[-1])
    shares = [len(c) / len(p.token_ids) for c, p in zip(read(0), whole, strict=True)]
    assert 0.4 < np.mean(shares) < 0.9


def test_control_tokens_of_the_template_are_never_dropped(workplace: Path) -> None:
    recipe = make_recipe(workplace, augmentation={"drop_tokens": 0.99})
    _, examples, tokenizer = prepare(recipe)
    frame = Frame((7, 8, 9), (5, 6))
    plain = PromptEncoder(
        tokenizer, version="compact-1", max_tokens=64, window=ContextWindow(), frame=frame
    )
    encoder = ExampleEncoder(dict.fromkeys(BUILT_IN, plain))
    targets = [np.ones(1)] * len(examples)
    dataset = TrainingExamples(examples, encoder, recipe.augmentation, 0, targets)
    for index in range(len(dataset)):
        token_ids = dataset[index]["token_ids"]
        assert Frame(tuple(token_ids[:3]), tuple(token_ids[-2:])) == frame


def test_folds_hold_every_class_evenly(workplace: Path) -> None:
    examples = read_examples(make_recipe(workplace).sources, BUILT_IN, folds=2)
    folds = split_folds(examples, 3, seed=0)
    for task, classes in (("timss", 7), ("irf", 8)):
        for label in range(classes):
            members = [i for i, e in enumerate(examples) if (e.task, e.label) == (task, label)]
            assert np.bincount(folds[members]).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("loss.tau=high", "loss.tau"),
        ("loss.name=focal", "for a checkpoint use logit-adjusted"),
        ("loss.lambda=0.1", "loss.lambda: Extra inputs"),
        ("evaluation.folds=7", "fewer than the 7 folds"),
        ("backbone=nowhere", "no such directory"),
        ("nonsense", "key.path=value"),
    ],
)
def test_a_wrong_recipe_is_one_line_and_exit_2(
    workplace: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    override: str,
    reason: str,
) -> None:
    before = json.loads((checkpoint / "manifest.json").read_text())
    recipe = str(workplace / "recipe.yaml")
    assert main(["train", "--check", "--recipe", recipe, override]) == 2
    message = capsys.readouterr().err
    assert reason in message and message.startswith("error: ") and message.count("\n") == 1
    assert json.loads((checkpoint / "manifest.json").read_text()) == before


def test_check_reads_everything_but_the_weights(
    workplace: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(workplace / "recipe.yaml")
    assert main(["train", "--check", "--recipe", recipe]) == 0
    assert "90 examples" in capsys.readouterr().out


def test_a_fold_can_be_trained_by_itself(
    workplace: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = f"work={tmp_path / 'work'}"
    command = ["crossvalidate", "--recipe", str(workplace / "recipe.yaml")]
    assert main([*command, "--fold", "1", work]) == 0
    assert [path.name for path in (tmp_path / "work").glob("fold-*.npz")] == ["fold-1.npz"]
    alone = read_arrays(tmp_path / "work" / "fold-1.npz")["retrospective"]
    whole = read_arrays(make_recipe(workplace).work / "fold-1.npz")["retrospective"]
    assert np.array_equal(alone, whole)
    assert main([*command, "--fold", "0", "--fold", "2", work]) == 2
    assert "fold 2: the recipe has 2 folds" in capsys.readouterr().err
    assert not (tmp_path / "work" / "fold-0.npz").exists()


def test_an_output_that_cannot_be_written_is_named(workplace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="choose another"):
        prepare(make_recipe(workplace, work=tmp_path / "file" / "work"))
