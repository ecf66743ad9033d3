"""Support: learnt from, never measured, and gone from the head when auxiliary."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from contract.labels import BUILT_IN
from tests.training.tiny import make_backbone, make_data, make_recipe, write_lines
from training.data.batches import build_encoder
from training.data.examples import read_examples
from training.data.support import read_support
from training.evaluation.crossvalidate import crossvalidate, fold_file
from training.files import read_arrays
from training.fit import fit
from training.fitting.epoch_sampler import EpochSampler
from training.fitting.validation import METRIC, Validation
from training.models.heads import find_head
from training.models.model import load_tokenizer
from training.models.prediction import predict_scores
from training.recipe.recipe import TrainRecipe

pytestmark = pytest.mark.slow

LABEL_SETS = [BUILT_IN["timss"], BUILT_IN["irf"]]


def make_supported(folder: Path, **changes: Any) -> TrainRecipe:
    """A tiny recipe with written problems and an auxiliary task of two kinds of sentence."""
    make_data(folder)
    write_lines(
        folder / "written.jsonl",
        [
            {"id": "w1", "question": "周长5？！", "class": TIMSS_LABEL},
            {"id": "w2", "question": "三角形3。", "class": TIMSS_LABEL},  # stands in the data
        ],
    )
    sentences = [
        {"text": f"{'请坐下' if number % 2 else '我们复习'}{number}", "label": "ab"[number % 2]}
        for number in range(40)
    ]
    write_lines(folder / "sentences.jsonl", sentences)
    label = {"name_zh": "甲", "group": "g", "definition": "d"}
    labels = [{"id": i, "data_label": i, "name_en": i, **label} for i in "ab"]
    text = yaml.safe_dump(
        {"task": "types", "kind": "dialogue-turn", "name": "Types", "labels": labels}
    )
    (folder / "types.yaml").write_text(text, encoding="utf-8")
    return make_recipe(
        folder,
        label_sets=[folder / "types.yaml"],
        support=[
            {"path": folder / "written.jsonl", "format": "tmwpl", "task": "timss"},
            {
                "path": folder / "sentences.jsonl", "format": "dialogid", "task": "types",
                "per_epoch": 10,
            },
        ],
        **changes,
    )  # fmt: skip


TIMSS_LABEL = BUILT_IN["timss"].labels[-1].data_label


def test_texts_of_the_labelled_data_are_left_out(tmp_path: Path) -> None:
    support = read_support(make_supported(tmp_path))
    assert [example.id for example in support.examples if example.task == "timss"] == ["w1"]
    assert [labels.task for labels in support.label_sets] == ["types"]
    assert support.per_epoch == {"types": 10}


def test_an_epoch_draws_its_number_and_others_the_next_time(tmp_path: Path) -> None:
    support = read_support(make_supported(tmp_path))
    own = [example for example in support.examples if example.task == "types"]
    sampler = EpochSampler(own, [5] * len(own), "instance", batch_size=4, seed=0,
                           per_epoch=support.per_epoch)  # fmt: skip
    drawn = []
    for sampler.epoch in range(4):
        epoch = list(sampler)
        assert len(epoch) == len(sampler) == 10
        assert Counter(own[place].label for place in epoch) == {0: 5, 1: 5}
        drawn += epoch
    assert sorted(drawn) == list(range(40))


def test_support_changes_what_is_learnt_and_its_head_is_dropped(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    supported = make_supported(tmp_path, optimisation={"epochs": 2})
    plain = supported.model_copy(update={"support": []})
    tokenizer = load_tokenizer(supported.backbone)
    examples = read_examples(supported.sources, BUILT_IN, folds=2)
    prompts = build_encoder(tokenizer, supported.prompt, LABEL_SETS).encode(examples[:4])
    scores = []
    for name, recipe in (("supported", supported), ("plain", plain)):
        model = fit(recipe, examples, LABEL_SETS, tokenizer, run_folder=tmp_path / name)
        assert find_head(model).shape[0] == model.config.num_labels == 15
        assert len(model.config.id2label) == 15
        scores.append(predict_scores(model, prompts, tokenizer.pad_token_id))
    assert scores[0].shape == scores[1].shape == (4, 15)
    assert abs(scores[0] - scores[1]).max() > 1e-3
    model.save_pretrained(tmp_path / "saved")  # whole: the configuration agrees with the head


def test_a_task_of_the_checkpoint_is_never_cut_to_a_number(tmp_path: Path) -> None:
    recipe = make_supported(tmp_path)
    raw = recipe.model_dump()
    raw["support"][0]["per_epoch"] = 1
    with pytest.raises(ValueError, match="per_epoch is for auxiliary tasks"):
        TrainRecipe.model_validate(raw)


def test_the_prior_to_subtract_is_that_of_what_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the folds as of validation: support counts, what is held back does not, drawn as drawn."""
    make_backbone(tmp_path / "backbone")
    options = {"epochs": 1, "validation_share": 0.34, "sampling": "square-root"}
    recipe = make_supported(tmp_path, loss={"name": "cross-entropy"}, optimisation=options)
    validated: list[Any] = []
    monkeypatch.setattr(
        Validation, "measure", lambda self, _: validated.append(self._shift) or {METRIC: 0.5}
    )
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    crossvalidate(recipe, examples, LABEL_SETS, load_tokenizer(recipe.backbone))
    # Of 6 examples of a class 3 are in the fold and 1 of those is held back; 1 was written.
    drawn = np.sqrt([2.0] * 6 + [3.0])
    expected = np.log(np.concatenate([drawn / drawn.sum(), np.full(8, 1 / 8)]))
    assert len(validated) == 2
    for fold, shift in enumerate(validated):
        assert shift[:15] == pytest.approx(expected)
        assert read_arrays(fold_file(recipe, fold))["shift"] == pytest.approx(expected)


def test_support_is_read_once_for_all_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backbone(tmp_path / "backbone")
    recipe = make_supported(tmp_path, optimisation={"epochs": 1})
    reads: list[TrainRecipe] = []
    monkeypatch.setattr(
        "training.evaluation.crossvalidate.read_support",
        lambda recipe: reads.append(recipe) or read_support(recipe),
    )
    monkeypatch.setattr("training.fit.read_support", reads.append)
    examples = read_examples(recipe.sources, BUILT_IN, folds=2)
    crossvalidate(recipe, examples, LABEL_SETS, load_tokenizer(recipe.backbone))
    assert reads == [recipe]
