"""Pretraining: what is read, in which form, and a decoder that learns it."""

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.tiny import make_data, write_lines
from training.__main__ import main
from training.errors import BadInput
from training.models.model import load_tokenizer
from training.pretraining.causal import CausalTrainer
from training.pretraining.corpus import read_corpus
from training.pretraining.pretrain import PretrainRecipe, pretrain
from training.pretraining.tokenizer import ASSISTANT, END, USER

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[3] / "training/recipes/pretrain-mini.yaml"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of the form of `shared/data`, with invented texts."""
    text, ncal = tmp_path / "data" / "text", tmp_path / "data" / "ncal"
    text.mkdir(parents=True)
    ncal.mkdir()
    problems: list[dict[str, Any]] = [
        {"text": "一个笼子里有9只兔子，又来了6只，一共几只？", "source": "mwptoolkit-ape"},
        {"text": "三角形０？", "source": "mwptoolkit-ape"},
        {"text": "求9和6的和．", "source": "tal-scq5k"},
        {"text": "9+6=15", "source": "tal-scq5k-analysis"},
        {"text": "6的平方是几？", "source": "tal-scq5k"},
    ]
    write_lines(text / "math_problems.jsonl", problems * 3)
    write_lines(text / "dialogid.jsonl", [{"text": "先看第一题。", "label": "guidance"}] * 9)
    write_lines(text / "dialogues.jsonl", [{"text": "你好\n你好呀\n\n吃了吗\n吃了"}] * 4)
    make_data(tmp_path)
    (tmp_path / "problems.jsonl").rename(ncal / "TMWPL_train.jsonl")
    (tmp_path / "turns.jsonl").rename(ncal / "PMTD_train.jsonl")
    return tmp_path / "data"


def read(data: Path) -> Any:
    labelled = [data / "ncal" / "TMWPL_train.jsonl", data / "ncal" / "PMTD_train.jsonl"]
    return read_corpus(data / "text", labelled)


def test_texts_that_will_be_judged_are_left_out(data: Path) -> None:
    corpus = read(data)
    assert corpus.left_out == 3  # 三角形0？, which the labelled problems hold in other forms
    assert not any("三角形" in text for text in corpus.iterate_texts())
    assert corpus.worked_problems == [("求9和6的和．", "9+6=15")] * 3
    assert "6的平方是几？" in corpus.problems


def test_documents_have_the_form_of_prompts(data: Path) -> None:
    documents = list(read(data).iterate_documents(random.Random(0)))
    assert f"{USER}求9和6的和．{ASSISTANT}9+6=15{END}" in documents
    assert f"{USER}本句师：先看第一题。{ASSISTANT}引导{END}" in documents
    assert all(d.startswith(USER) and d.endswith(END) for d in documents)
    rng = random.Random(0)
    epochs = [set(read(data).iterate_documents(rng)) for _ in range(8)]
    shapes = set.union(*epochs)
    assert any("师：你好\n生：你好呀\n师：吃了吗\n生：吃了" in d for d in shapes)
    assert any("师：你好呀\n下文师：吃了\n本句生：吃了吗" in d for d in shapes)
    assert any("师：你好呀\n本句生：吃了吗" in d for d in shapes)


@pytest.mark.parametrize(
    ("line", "reason"), [("{", "not JSON"), ('{"text": 3}', "expected an object")]
)
def test_a_malformed_line_is_named(data: Path, line: str, reason: str) -> None:
    with (data / "text" / "math_problems.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadInput, match=rf"math_problems\.jsonl:16: {reason}"):
        read(data)
    (data / "text" / "math_problems.jsonl").unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        read(data)


def make_recipe(data: Path, output: Path, *, epochs: int) -> dict[str, Any]:
    return {
        "data": str(data), "output": str(output), "vocab_size": 340,
        "hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 2, "epochs": epochs,
        "block_tokens": 32, "batch_size": 8, "learning_rate": 1e-2,
        "muon_learning_rate": 1e-2, "weight_decay": 0.1,
        "warmup_steps": 5, "seed": 0, "bf16": False, "compile": False,
    }  # fmt: skip


def test_a_backbone_is_trained_and_loads_everywhere(data: Path, tmp_path: Path) -> None:
    recipe = make_recipe(data, tmp_path / "backbone", epochs=40)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["pretrain", "--check", "--recipe", str(tmp_path / "recipe.yaml")]) == 0
    assert not (tmp_path / "backbone").exists()
    assert main(["pretrain", "--recipe", str(tmp_path / "recipe.yaml")]) == 0
    summary = json.loads((tmp_path / "backbone" / "pretrain.json").read_text())
    assert summary["left_out_texts"] == 3
    assert summary["train_loss"] < 0.8 * math.log(340)
    tokenizer = load_tokenizer(str(tmp_path / "backbone"))
    assert isinstance(tokenizer, type(AutoTokenizer.from_pretrained(tmp_path / "backbone")))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "backbone")
    ids = tokenizer(f"{USER}本句师：先看第一题。{ASSISTANT}", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        answer = model(ids).logits[0, -1].argmax()
    assert tokenizer.decode(answer) == tokenizer.decode(tokenizer("引导")["input_ids"][0])


def test_what_was_broken_off_goes_on_as_if_it_had_not_been(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pretraining.causal._SAVE_STEPS", 2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    pretrain(PretrainRecipe(**make_recipe(data, whole, epochs=6)))
    compute_loss = CausalTrainer.compute_loss
    with monkeypatch.context() as patch:
        calls = itertools.count()

        def break_off(*args: Any, **options: Any) -> Any:
            if next(calls) == 3:
                raise KeyboardInterrupt
            return compute_loss(*args, **options)

        patch.setattr(CausalTrainer, "compute_loss", break_off)
        with pytest.raises(KeyboardInterrupt):
            pretrain(PretrainRecipe(**make_recipe(data, broken, epochs=6)))
    assert [path.name for path in (broken / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    with pytest.raises(BadInput, match="an unfinished run with another recipe"):
        pretrain(PretrainRecipe(**make_recipe(data, broken, epochs=7)))
    pretrain(PretrainRecipe(**make_recipe(data, broken, epochs=6)))
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=0, atol=0)
    assert not list((broken / "run").iterdir())


def test_more_gpus_than_one_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PretrainRecipe.read(RECIPE, [f"data={data}", f"output={data / 'backbone'}"])
    monkeypatch.setattr("training.pretraining.causal.TrainingArguments.n_gpu", 2)
    with pytest.raises(BadInput, match=r"2 GPUs are visible: .*set CUDA_VISIBLE_DEVICES=0"):
        pretrain(recipe)
    assert not (data / "backbone").exists()
