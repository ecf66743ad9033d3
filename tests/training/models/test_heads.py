"""Where heads start, what they say untrained, and cosines that become linear scores."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from contract.inputs import DialogueTurn, Problem
from contract.labels import IRF, TIMSS, LabelSet
from contract.prompts import Prompt
from tests.training.tiny import DECODERS, make_backbone, make_recipe
from training.data.batches import build_encoder
from training.data.examples import Example
from training.errors import BadInput
from training.fitting.single_run import build_model
from training.models.heads import find_head, fold_cosines, start_head
from training.models.model import load_classifier, load_tokenizer
from training.models.prediction import predict_features, predict_scores
from training.models.zero_shot import score_zero_shot
from training.recipe.method import HeadRecipe


def make_prompts(folder: Path, tokenizer: PreTrainedTokenizerBase) -> list[Prompt]:
    encoder = build_encoder(tokenizer, make_recipe(folder).prompt, [TIMSS, IRF])
    return encoder.encode(
        [
            Example("1", "timss", Problem(text="三角形有几条边？"), 0),
            Example("2", "irf", DialogueTurn(speaker="student", text="听得见吗"), 0),
            Example("3", "timss", Problem(text="一共多少"), 0),
        ]
    )


@pytest.mark.parametrize("family", sorted(DECODERS))
@pytest.mark.parametrize("tied", [False, True])
def test_zero_shot_scores_are_the_language_model_s(tmp_path: Path, family: str, tied: bool) -> None:
    make_backbone(tmp_path / "backbone", family)
    backbone = str(tmp_path / "backbone")
    config = AutoConfig.from_pretrained(backbone, tie_word_embeddings=tied)
    language_model = AutoModelForCausalLM.from_config(config).eval()
    language_model.save_pretrained(backbone)
    embeddings = language_model.get_input_embeddings().weight
    assert (language_model.get_output_embeddings().weight is embeddings) == tied
    tokenizer = load_tokenizer(backbone)
    prompts = make_prompts(tmp_path, tokenizer)
    scores = score_zero_shot(backbone, tokenizer, [TIMSS, IRF], prompts)
    assert scores.shape == (3, 15)
    for row, prompt in zip(scores, prompts, strict=True):
        with torch.inference_mode():
            logits = language_model(torch.tensor([prompt.token_ids])).logits[0, -1]
        for label_set, own in ((TIMSS, row[:7]), (IRF, row[7:])):
            expected = np.array(
                [
                    np.mean(
                        [
                            logits[tokenizer(name, add_special_tokens=False)["input_ids"]].mean()
                            for name in {label.name_zh, label.name_en}
                        ]
                    )
                    for label in label_set.labels
                ]
            )
            expected -= expected.mean()
            factor = (own @ expected) / (expected @ expected)
            assert factor > 0
            assert own == pytest.approx(factor * expected, abs=1e-4 * float(np.abs(own).max()))


def test_label_words_start_as_long_as_a_random_head(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    backbone = str(tmp_path / "backbone")
    tokenizer = load_tokenizer(backbone)
    recipe = make_recipe(tmp_path, head={"init": "label-words"})
    head = find_head(build_model(recipe, [TIMSS, IRF], tokenizer))
    assert head.requires_grad
    for rows in (head[:7], head[7:]):
        assert rows.norm(dim=1).mean().item() == pytest.approx(0.02 * 64**0.5, rel=1e-4)
        assert torch.allclose(rows.mean(dim=0), torch.zeros(64), atol=1e-6)


def test_labels_without_words_of_their_own_are_named(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    backbone = str(tmp_path / "backbone")
    tokenizer = load_tokenizer(backbone)
    twin = IRF.labels[0].model_copy(update={"id": "twin", "data_label": "twin"})
    label_set = LabelSet(task="twins", kind="problem", name="t", labels=(IRF.labels[0], twin))
    model = load_classifier(backbone, tokenizer, [label_set])
    with pytest.raises(BadInput, match="'twins': labels with the same words"):
        start_head(model, HeadRecipe(init="label-words"), backbone, tokenizer, [label_set], 0)


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_a_fixed_etf_is_a_simplex_for_each_task_and_frozen(
    tmp_path: Path, lora: dict[str, int] | None
) -> None:
    make_backbone(tmp_path / "backbone")
    recipe = make_recipe(tmp_path, lora=lora, head={"init": "etf", "trainable": False})
    model = build_model(recipe, [TIMSS, IRF], load_tokenizer(recipe.backbone))
    head = find_head(model)
    for rows in (head[:7], head[7:]):
        cosines = (rows @ rows.T).detach()
        expected = torch.full_like(cosines, -1 / (len(rows) - 1)).fill_diagonal_(1.0)
        assert torch.allclose(cosines, expected, atol=1e-5)
    assert not head.requires_grad
    trainable = [name for name, each in model.named_parameters() if each.requires_grad]
    assert trainable and not any("score" in name for name in trainable)


def test_an_etf_without_room_is_refused(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    tokenizer = load_tokenizer(str(tmp_path / "backbone"))
    label = IRF.labels[0]
    labels = tuple(
        label.model_copy(update={"id": f"l{n}", "data_label": f"l{n}"}) for n in range(66)
    )
    label_set = LabelSet(task="wide", kind="problem", name="w", labels=labels)
    recipe = make_recipe(tmp_path, head={"init": "etf"})
    with pytest.raises(BadInput, match=r"'wide': a simplex of 66 classes needs.*head.init random"):
        build_model(recipe, [label_set], tokenizer)


def test_folded_cosines_rank_as_the_cosines_do(tmp_path: Path) -> None:
    make_backbone(tmp_path / "backbone")
    tokenizer = load_tokenizer(str(tmp_path / "backbone"))
    model = load_classifier(str(tmp_path / "backbone"), tokenizer, [TIMSS]).eval()
    with torch.no_grad():
        find_head(model).mul_(torch.logspace(-1, 1, 7)[:, None])  # lengths that mislead
    prompts = make_prompts(tmp_path, tokenizer)
    features = predict_features(model, prompts, tokenizer.pad_token_id)
    cosines = F.normalize(torch.from_numpy(features)) @ F.normalize(find_head(model)).T
    scores = predict_scores(fold_cosines(model, features, 16.0), prompts, tokenizer.pad_token_id)
    assert (scores.argsort(axis=1) == cosines.detach().numpy().argsort(axis=1)).all()
    lengths = np.linalg.norm(features, axis=1)
    expected = 16.0 * cosines.detach().numpy() * (lengths / lengths.mean())[:, None]
    assert scores == pytest.approx(expected, abs=1e-4)
