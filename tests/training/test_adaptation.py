"""The backbone reads the training texts before a fit, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import training.adaptation
import training.fit
from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training.killed_run import BrokenOffError
from tests.training.tiny import make_backbone, make_data, make_recipe
from training.adaptation import adapt
from training.causal import Blocks
from training.data import Example, read_examples
from training.errors import BadInput
from training.fit import fit
from training.model import load_tokenizer
from training.recipe import TrainRecipe

ADAPTATION = {
    "epochs": 6, "learning_rate": 1e-2, "muon_learning_rate": 1e-2, "block_tokens": 32,
    "batch_size": 4,
}  # fmt: skip
ONCE = {"epochs": 1}


def make(folder: Path, **changes: Any) -> TrainRecipe:
    if not (folder / "backbone").exists():
        make_backbone(folder / "backbone")
    make_data(folder)
    return make_recipe(folder, **{"adaptation": ADAPTATION, "optimisation": ONCE} | changes)


def read(recipe: TrainRecipe) -> list[Example]:
    return read_examples(recipe.sources, BUILT_IN, folds=2)


def run(recipe: TrainRecipe, folder: Path) -> dict[str, Tensor]:
    tokenizer = load_tokenizer(recipe.backbone)
    return fit(recipe, read(recipe), [TIMSS, IRF], tokenizer, run_folder=folder).state_dict()


def watch_documents(patch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """The documents of each adaptation."""
    seen: list[list[list[int]]] = []

    def watch(documents: Any, block_tokens: int) -> Blocks:
        seen.append(list(documents))
        return Blocks(seen[-1], block_tokens)

    patch.setattr(training.adaptation, "Blocks", watch)
    return seen


def measure_loss(backbone: str, recipe: TrainRecipe) -> float:
    tokenizer, model = load_tokenizer(backbone), AutoModelForCausalLM.from_pretrained(backbone)
    texts = [f"<|user|>{each.item.text}<|end|>" for each in read(recipe) if each.task == "timss"]
    losses = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            losses.append(float(model(ids, labels=ids).loss))
    return sum(losses) / len(losses)


def test_the_backbone_learns_the_texts(tmp_path: Path) -> None:
    recipe = make(tmp_path)
    tokenizer, folder = load_tokenizer(recipe.backbone), tmp_path / "run"
    folder.mkdir()
    adapted = adapt(recipe, read(recipe), [TIMSS, IRF], tokenizer, folder)
    tokenizer.save_pretrained(adapted.backbone)
    assert measure_loss(adapted.backbone, recipe) < 0.8 * measure_loss(recipe.backbone, recipe)
    assert adapted.model_copy(update={"backbone": recipe.backbone}) == recipe


def test_it_reads_each_training_text_once_an_epoch_as_a_prompt_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"drop_following": 0.5, "perturb_numbers": 0.5}
    recipe = make(
        tmp_path,
        augmentation=changes,
        optimisation=ONCE | {"validation_share": 0.3},
        adaptation=ADAPTATION | {"epochs": 2},
    )
    seen, tokenizer = watch_documents(monkeypatch), load_tokenizer(recipe.backbone)
    run(recipe, tmp_path / "run")
    texts = [tokenizer.decode(ids) for ids in seen[0]]
    examples = read(recipe)
    held_back = 2 * round(0.3 * 6) * (7 + 8) // 2  # of 6 examples a class, 2 choose
    assert len(seen) == 1 and len(texts) == 2 * (len(examples) - held_back)
    assert all(text.startswith("<|user|>") and text.endswith("<|end|>") for text in texts)
    assert any("三角形" in text for text in texts)
    turns = [text for text in texts if "本句生:" in text]
    assert any("下文师:好" in text for text in turns)
    assert any("下文" not in text for text in turns)
    assert set(texts[: len(texts) // 2]) != set(texts[len(texts) // 2 :])  # changed anew


def test_a_fit_starts_from_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    recipe, folder = make(tmp_path), tmp_path / "run"
    weights = run(recipe, folder)
    assert {path.name for path in folder.iterdir()} == {"collapse.jsonl", "runs"}
    plain = run(make(tmp_path, adaptation=None), tmp_path / "plain")
    name = "model.embed_tokens.weight"  # LoRA leaves it alone
    assert not torch.allclose(weights[name], plain[name], atol=1e-3)
    assert torch.equal(plain[name], load_embeddings(recipe.backbone))


def load_embeddings(backbone: str) -> Tensor:
    return AutoModelForCausalLM.from_pretrained(backbone).get_input_embeddings().weight


def test_a_fit_broken_off_after_it_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = make(tmp_path), tmp_path / "broken"
    unbroken = run(recipe, tmp_path / "unbroken")
    seen = watch_documents(monkeypatch)

    def stop(*_: Any, **__: Any) -> None:
        raise BrokenOffError

    with monkeypatch.context() as patch, pytest.raises(BrokenOffError):
        patch.setattr(training.fit, "fine_tune", stop)
        run(recipe, folder)
    other = make(tmp_path, adaptation=ADAPTATION | {"epochs": 7})
    with pytest.raises(BadInput, match=r"adapted: holds an unfinished run .* adaptation"):
        run(other, folder)
    resumed = run(recipe, folder)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert len(seen) == 1


def test_texts_that_do_not_fill_a_block_are_refused(tmp_path: Path) -> None:
    recipe = make(tmp_path, adaptation=ADAPTATION | {"block_tokens": 100_000})
    with pytest.raises(BadInput, match=r"adaptation\.block_tokens 100000: .* shorter; lower it"):
        run(recipe, tmp_path / "run")


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="adaptation runs in one process"):
        run(recipe, tmp_path / "run")
