"""Training on a tiny decoder: heads, losses, validation, and the history of collapse."""

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedModel
from transformers.utils import logging

from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training.tiny import DECODERS, make_backbone, make_data, make_recipe
from training.data.batches import build_encoder
from training.data.examples import Example, read_examples
from training.data.sampling import split_validation
from training.errors import BadInput
from training.fit import fit
from training.fitting.collapse_history import FILE_NAME, choose_sample
from training.fitting.single_run import build_model
from training.fitting.tracking import name_tracker_errors
from training.fitting.trainer import CollapseTrainer
from training.fitting.validation import METRIC, Validation
from training.losses.collapse_metrics import measure_collapse
from training.models.heads import find_head
from training.models.model import load_tokenizer
from training.models.prediction import predict_features, predict_scores
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow

logging.set_verbosity_error()
FIXED = {"init": "etf", "trainable": False}


def read(recipe: TrainRecipe) -> list[Example]:
    return read_examples(recipe.sources, BUILT_IN, folds=2)


def run(recipe: TrainRecipe, folder: Path) -> PreTrainedModel:
    tokenizer = load_tokenizer(recipe.backbone)
    return fit(recipe, read(recipe), [TIMSS, IRF], tokenizer, run_folder=folder)


def measure_hits(recipe: TrainRecipe, model: PreTrainedModel) -> float:
    """Share of training examples that the exported linear scores answer rightly."""
    examples, tokenizer = read(recipe), load_tokenizer(recipe.backbone)
    prompts = build_encoder(tokenizer, recipe.prompt, [TIMSS, IRF]).encode(examples)
    scores = predict_scores(model, prompts, tokenizer.pad_token_id)
    blocks = {"timss": slice(0, 7), "irf": slice(7, 15)}
    hits = [
        row[blocks[example.task]].argmax() == example.label
        for row, example in zip(scores, examples, strict=True)
    ]
    return float(np.mean(hits))


def test_adapters_learn_on_a_backbone_in_bfloat16(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    make_data(tmp_path)
    recipe = make_recipe(
        tmp_path, loading={"dtype": "bfloat16"}, optimisation={"epochs": 8, "bf16": True}
    )
    model = run(recipe, tmp_path / "run")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert measure_hits(recipe, model) > 0.7  # chance is about 1/7.5


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "cosine"}},
        {"loss": {"name": "cosine"}, "head": FIXED},
        {"loss": {"name": "dot-regression", "tc_weight": 0.0}, "head": FIXED},
        {"head": {"init": "label-words"}},
        {"loss": {"name": "cross-entropy"}, "optimisation": {"sampling": "class-balanced"}},
        {"optimisation": {"bf16": True, "accumulation": 2, "gradient_checkpointing": True}},
    ],
    ids=["cosine", "cosine-etf", "dot-regression", "label-words", "balanced", "bf16"],
)
def test_every_method_learns_and_exports_a_linear_head(
    workplace: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = make_recipe(workplace, **changes)
    model = run(recipe, tmp_path)
    assert measure_hits(recipe, model) > 0.4  # chance is about 1/7.5
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    if changes.get("head") == FIXED:
        rows = F.normalize(find_head(model).detach()[:7])
        expected = torch.full((7, 7), -1 / 6).fill_diagonal_(1.0)
        assert torch.allclose(rows @ rows.T, expected, atol=1e-4)


@pytest.mark.parametrize("family", sorted(DECODERS))
def test_every_decoder_trains_with_adapters_on_chosen_layers(tmp_path: Path, family: str) -> None:
    make_backbone(tmp_path / "backbone", family)
    make_data(tmp_path, per_class=3)
    lora = {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}
    recipe = make_recipe(tmp_path, lora=lora, optimisation={"epochs": 1})
    model = run(recipe, tmp_path / "run")
    start = type(model).from_pretrained(tmp_path / "backbone").state_dict()
    moved = {
        name for name, each in model.state_dict().items() if not torch.equal(each, start[name])
    }
    assert {name.split(".")[-2] for name in moved} == {"q_proj", "v_proj", "score"}


def test_recomputed_activations_change_nothing(workplace: Path, tmp_path: Path) -> None:
    def train(checkpointing: bool) -> dict[str, torch.Tensor]:
        options = {"epochs": 1, "gradient_checkpointing": checkpointing}
        return run(make_recipe(workplace, optimisation=options), tmp_path).state_dict()

    plain, recomputed = train(False), train(True)
    assert all(torch.allclose(plain[name], recomputed[name], atol=1e-5) for name in plain)


def test_collapse_is_measured_at_the_start_and_after_each_epoch(
    workplace: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(workplace, optimisation={"epochs": 2})
    model = run(recipe, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / FILE_NAME).read_text().splitlines()]
    assert [(line["step"], line["epoch"], line["task"]) for line in lines] == [
        (step, epoch, task) for step, epoch in ((0, 0), (5, 1), (10, 2)) for task in BUILT_IN
    ]
    chosen = [e for e in choose_sample(read(recipe), recipe.optimisation.seed) if e.task == "irf"]
    tokenizer = load_tokenizer(recipe.backbone)
    prompts = build_encoder(tokenizer, recipe.prompt, [IRF]).encode(chosen)
    expected = measure_collapse(
        predict_features(model, prompts, tokenizer.pad_token_id),
        np.array([example.label for example in chosen]),
        find_head(model).detach().numpy()[7:],
    )
    assert {name: lines[-1][name] for name in expected} == pytest.approx(expected, rel=1e-3)


def test_collapse_and_validation_reach_the_tracker(workplace: Path, tmp_path: Path) -> None:
    options = {"epochs": 2, "validation_share": 0.2}
    run(make_recipe(workplace, optimisation=options, trainer={"logging_steps": 1}), tmp_path)
    events = EventAccumulator(str(next(tmp_path.glob("runs/*"))))
    events.Reload()
    lines = [json.loads(line) for line in (tmp_path / FILE_NAME).read_text().splitlines()]
    for task in BUILT_IN:
        for name in ("nc1", "nc2_angles", "nc3", "nc4"):
            written = [(e.step, e.value) for e in events.Scalars(f"train/collapse/{task}/{name}")]
            expected = [(line["step"], line[name]) for line in lines if line["task"] == task]
            assert written == [(step, pytest.approx(value)) for step, value in expected]
    assert [event.step for event in events.Scalars("eval/macro_recall")] == [4, 8]
    assert {"eval/macro_recall_irf", "train/loss_cls", "train/loss_tc"} <= set(
        events.Tags()["scalars"]
    )


def test_a_tracker_that_refuses_is_named(tmp_path: Path) -> None:
    """W&B raises when nobody is logged in; not installed here, so the class is made up."""
    refusal = type("UsageError", (Exception,), {"__module__": "wandb.errors"})
    remedy = r"report_to: wandb: no key; run `wandb login`"
    with pytest.raises(BadInput, match=remedy), name_tracker_errors():
        raise refusal("no key.\nmore")
    with pytest.raises(KeyError), name_tracker_errors():
        raise KeyError


def test_the_sample_for_collapse_holds_every_class(workplace: Path) -> None:
    examples = read(make_recipe(workplace)) * 9
    chosen = choose_sample(examples, 0)
    counts = np.unique([f"{e.task}/{e.label}" for e in chosen], return_counts=True)[1]
    assert counts.tolist() == [20] * 15
    assert choose_sample(examples, 0) == chosen != choose_sample(examples, 1)


def test_the_best_checkpoint_is_kept_and_training_stops(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recalls are scripted; which weights come out and when training ends are not."""
    heads = []

    def script(self: Validation, model: Any) -> dict[str, float]:
        heads.append(find_head(model).detach().clone())
        return {METRIC: [0.5, 0.9, 0.7, 0.9, 1.0][len(heads) - 1]}

    monkeypatch.setattr(Validation, "measure", script)
    options = {"epochs": 5, "validation_share": 0.2, "early_stopping_patience": 2}
    model = run(make_recipe(workplace, optimisation=options), tmp_path)
    assert len(heads) == 4  # 0.7 and 0.9 are no better than 0.9
    assert torch.equal(find_head(model), heads[1])
    assert not torch.equal(heads[1], heads[3])
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("loss", ["cross-entropy", "cosine"])
def test_validation_is_macro_recall_under_a_uniform_prior(
    workplace: Path, tmp_path: Path, loss: str
) -> None:
    recipe = make_recipe(workplace, loss={"name": loss})
    training, held_back = split_validation(read(recipe), 0.5, 0)
    rare = training[2:]  # of the first class, 1 of 3
    tokenizer = load_tokenizer(recipe.backbone)
    model = run(make_recipe(workplace, optimisation={"epochs": 2}), tmp_path)
    validation = Validation(recipe, held_back, rare, [TIMSS, IRF], tokenizer)
    measured = validation.measure(model)

    problems = [e for e in held_back if e.task == "timss"]
    prompts = build_encoder(tokenizer, recipe.prompt, [TIMSS]).encode(problems)
    head = find_head(model).detach()
    scores = predict_scores(model, prompts, tokenizer.pad_token_id)[:, :7]
    if loss == "cosine":
        scores = scores / head[:7].norm(dim=1).numpy()
    else:
        labels = [e.label for e in rare if e.task == "timss"]
        scores = scores - np.log(np.bincount(labels) / len(labels))
    truth = np.array([e.label for e in held_back if e.task == "timss"])
    hits = scores.argmax(axis=1) == truth
    expected = np.mean([hits[truth == label].mean() for label in range(7)])
    assert measured[f"{METRIC}_timss"] == pytest.approx(expected)
    assert measured[METRIC] == pytest.approx((expected + measured[f"{METRIC}_irf"]) / 2)
    alone = [e for e in held_back if e.task == "timss"]  # as if IRF were an auxiliary task
    judged = Validation(recipe, alone, rare, [TIMSS], tokenizer).measure(model)
    assert judged == {METRIC: pytest.approx(expected), f"{METRIC}_timss": pytest.approx(expected)}


def test_trainer_arguments_are_passed_on(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    log = CollapseTrainer.log

    def listen(self: CollapseTrainer, logs: dict[str, float], *rest: Any) -> None:
        rates.append(logs.get("learning_rate"))
        log(self, logs, *rest)

    monkeypatch.setattr(CollapseTrainer, "log", listen)
    options = {"logging_steps": 1, "lr_scheduler_type": "constant"}
    recipe = make_recipe(workplace, trainer=options, optimisation={"epochs": 1})
    run(recipe, tmp_path)
    assert [rate for rate in rates if rate is not None] == [1e-2] * 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"report_to": ["wandb"]}, "wandb is not installed; pip install wandb, or leave it out"),
        ({"trainer": {"fsdp": True}}, r"trainer\.fsdp: .* start with torchrun"),
        ({"trainer": {"deepspeed": "zero3.json"}}, r"trainer\.deepspeed: .* use trainer\.fsdp"),
        ({"trainer": {"optim": "none"}}, "trainer: none is not a valid OptimizerNames"),
    ],
)
def test_what_the_trainer_cannot_do_is_said_at_once(
    workplace: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadInput, match=reason):
        run(make_recipe(workplace, **changes), tmp_path)


def test_a_fit_starts_without_the_model_of_the_one_before(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []

    def count_then_build(*arguments: Any) -> Any:
        alive.append(sum(issubclass(type(each), PreTrainedModel) for each in gc.get_objects()))
        return build_model(*arguments)

    monkeypatch.setattr("training.fitting.single_run.build_model", count_then_build)
    recipe = make_recipe(workplace, optimisation={"epochs": 1})
    gc.disable()  # or it would run by chance
    try:
        for name in ("first", "second"):
            run(recipe, tmp_path / name)
    finally:
        gc.enable()
    assert alive[0] == alive[1]
