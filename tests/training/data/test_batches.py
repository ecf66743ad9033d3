"""Prompts of examples: each task tells a chat model what its own label set says."""

from pathlib import Path

import pytest

from contract.inputs import Problem
from contract.labels import TIMSS
from contract.prompts import PromptEncoder
from engine.checkpoint import Checkpoint, load_prompt_encoders
from tests.contract.examples import BLOOM, make_manifest, make_task
from tests.training.tiny import make_tokenizer
from training.data.batches import build_encoder
from training.data.examples import Example
from training.errors import BadInput
from training.recipe.recipe import PromptRecipe

PARCELS = BLOOM.model_copy(update={"instruction": "Which class has this complaint?"})
INSTRUCT = PromptRecipe(version="instruct-1", max_tokens=160)
EXAMPLES = [
    Example("1", "bloom", Problem(text="三角形0"), 0),
    Example("2", "timss", Problem(text="三角形0"), 0),
    Example("3", "bloom", Problem(text="周长3"), 1),
]


def test_examples_of_two_tasks_are_told_different_things() -> None:
    tokenizer = make_tokenizer()
    prompts = build_encoder(tokenizer, INSTRUCT, [TIMSS, PARCELS]).encode(EXAMPLES)
    texts = [tokenizer.decode(prompt.token_ids) for prompt in prompts]
    assert [text.count(PARCELS.instruction) for text in texts] == [1, 0, 1]
    assert "小学数学题" in texts[1] and "三角形0" in texts[0] and "周长3" in texts[2]


def test_the_service_says_what_training_said(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    encoder = build_encoder(tokenizer, INSTRUCT, [TIMSS, PARCELS])
    fields = {"prompt_version": "instruct-1", "max_tokens": 160, "frame": encoder.frame}
    tasks = [make_task(TIMSS, **fields), make_task(PARCELS, 7, **fields)]
    manifest = make_manifest(tasks=tasks)
    served = load_prompt_encoders(Checkpoint(directory=tmp_path, manifest=manifest))
    for example, prompt in zip(EXAMPLES, encoder.encode(EXAMPLES), strict=True):
        assert served[example.task].encode([example.item]) == [prompt]


def test_without_an_instruction_prompts_are_as_they_were() -> None:
    tokenizer, recipe = make_tokenizer(), PromptRecipe(version="compact-1", max_tokens=64)
    before = PromptEncoder(
        tokenizer, version=recipe.version, max_tokens=recipe.max_tokens, window=recipe.window
    ).encode([example.item for example in EXAMPLES])
    assert build_encoder(tokenizer, recipe, [TIMSS, BLOOM]).encode(EXAMPLES) == before
    assert build_encoder(tokenizer, recipe, [TIMSS, PARCELS]).encode(EXAMPLES) == before


def test_an_instruction_too_long_for_the_prompt_is_one_line() -> None:
    long = BLOOM.model_copy(update={"instruction": "分" * 200})
    with pytest.raises(BadInput, match=r"task 'bloom': max_tokens=160 leaves .* shorten"):
        build_encoder(make_tokenizer(), INSTRUCT, [long])
