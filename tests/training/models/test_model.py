"""The feature is read at the last prompt token, on every decoder, with any padding."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from contract.labels import IRF, TIMSS, LabelSet
from tests.training.tiny import DECODERS, make_backbone, make_tokenizer
from training.data.examples import assign_rows
from training.errors import BadInput
from training.models.model import (
    add_lora,
    compute_features,
    find_last,
    load_classifier,
    load_tokenizer,
    merge_lora,
)
from training.recipe.method import LoadingRecipe, LoraRecipe

PROMPT = [7, 20, 250, 41, 8]


def pad(prompt: list[int], amount: int, side: str, pad_token_id: int) -> dict[str, torch.Tensor]:
    padding, zeros = [pad_token_id] * amount, [0] * amount
    ones = [1] * len(prompt)
    ids = prompt + padding if side == "right" else padding + prompt
    mask = ones + zeros if side == "right" else zeros + ones
    return {"input_ids": torch.tensor([ids]), "attention_mask": torch.tensor([mask])}


@pytest.mark.parametrize("family", sorted(DECODERS))
def test_features_do_not_depend_on_padding(tmp_path: Path, family: str) -> None:
    backbone = str(make_backbone(tmp_path, family))
    tokenizer = load_tokenizer(backbone)
    model = load_classifier(backbone, tokenizer, [TIMSS, IRF]).eval()
    with torch.inference_mode():
        reference = getattr(model, model.base_model_prefix)(torch.tensor([PROMPT]))
        expected = reference.last_hidden_state[0, -1]
        for side, amount in [("right", 0), ("right", 3), ("left", 3), ("right", 11)]:
            batch = pad(PROMPT, amount, side, tokenizer.pad_token_id)
            features, scores = compute_features(model, batch)
            assert torch.allclose(features[0], expected, atol=1e-5)
            assert torch.allclose(scores, model.score(features), atol=1e-5)


def test_last_position_is_found_in_the_mask() -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]])
    assert find_last(mask).tolist() == [2, 4, 0]


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_merging_changes_nothing(tmp_path: Path, targets: str | list[str]) -> None:
    backbone = str(make_backbone(tmp_path))
    tokenizer = load_tokenizer(backbone)
    recipe = LoraRecipe(rank=4, alpha=8, targets=targets)
    model = add_lora(load_classifier(backbone, tokenizer, [TIMSS]), recipe).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("score" in name for name in trainable)
    assert all("lora" in name or "score" in name for name in trainable)
    batch = pad(PROMPT, 2, "right", tokenizer.pad_token_id)
    with torch.inference_mode():
        before = compute_features(model, batch)
        merged = merge_lora(model)
        after = compute_features(merged, batch)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    for a, b in zip(before, after, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_rows_follow_one_another() -> None:
    assert assign_rows([TIMSS, IRF]) == {"timss": list(range(7)), "irf": list(range(7, 15))}


def test_a_tokenizer_that_transformers_would_replace_is_refused(tmp_path: Path) -> None:
    make_backbone(tmp_path, "qwen2")
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="replaces this tokenizer by Qwen2Tokenizer"):
        load_tokenizer(str(tmp_path))


def test_a_missing_backbone_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pretrain"):
        load_tokenizer(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no tokenizer can be loaded"):
        load_tokenizer(str(tmp_path / "empty"))
    tokenizer = load_tokenizer(str(make_backbone(tmp_path)))
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(BadInput, match="no chat template"):
        load_tokenizer(str(tmp_path / "plain"))


def test_a_backbone_that_lacks_weights_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """transformers would draw them at random; that the head is new it need not say."""
    backbone = str(make_backbone(tmp_path))
    tokenizer = load_tokenizer(backbone)
    capfd.readouterr()
    load_classifier(backbone, tokenizer, [TIMSS])
    assert "score.weight" not in "".join(capfd.readouterr())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"lacks weights \(model\.norm\.weight …\)"):
        load_classifier(backbone, tokenizer, [TIMSS])


@pytest.mark.parametrize("label_sets", [[TIMSS], [TIMSS, IRF]], ids=["fewer rows", "as many"])
def test_the_head_of_a_finished_checkpoint_is_dropped(
    tmp_path: Path, label_sets: list[LabelSet]
) -> None:
    backbone = str(make_backbone(tmp_path / "backbone"))
    tokenizer = load_tokenizer(backbone)
    finished = load_classifier(backbone, tokenizer, [TIMSS, IRF])
    with torch.no_grad():
        finished.score.weight.fill_(7.0)
    finished.save_pretrained(tmp_path / "finished")
    tokenizer.save_pretrained(tmp_path / "finished")
    model = load_classifier(str(tmp_path / "finished"), tokenizer, label_sets)
    rows = sum(len(labels.ids) for labels in label_sets)
    assert model.score.weight.shape == (rows, 64)
    assert 0.0 < float(model.score.weight.detach().abs().max()) < 1.0
    assert model.config.id2label[0] == "timss/recall"
    own, other = (dict(each.named_parameters()) for each in (finished, model))
    assert all(torch.equal(own[name], other[name]) for name in own if name != "score.weight")


def test_a_frozen_backbone_in_bfloat16_has_an_exact_head_and_merges_exactly(
    tmp_path: Path,
) -> None:
    backbone = str(make_backbone(tmp_path))
    tokenizer = load_tokenizer(backbone)
    plain = load_classifier(backbone, tokenizer, [TIMSS], LoadingRecipe(dtype="bfloat16"))
    assert {plain.score.weight.dtype, plain.model.norm.weight.dtype} == {
        torch.float32, torch.bfloat16,
    }  # fmt: skip
    model = add_lora(plain, LoraRecipe(rank=4, alpha=8)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=1e-4)  # far below a step of bfloat16
    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    assert trained == {torch.float32}
    frozen = {name: p.float().clone() for name, p in plain.named_parameters() if "base" in name}
    merged = merge_lora(model)
    assert {p.dtype for p in merged.parameters()} == {torch.float32}
    changed = dict(merged.named_parameters())["model.layers.0.self_attn.q_proj.weight"]
    before = frozen["model.layers.0.self_attn.q_proj.base_layer.weight"]
    assert 0.0 < float((changed - before).abs().max()) < 1e-2
    compute_features(merged, pad(PROMPT, 2, "right", tokenizer.pad_token_id))
