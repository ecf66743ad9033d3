"""The tokenizer of a checkpoint says what that of transformers says."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from contract.manifest import (
    CheckpointError,
    hash_deciding_files,
    read_manifest,
    write_manifest,
)
from engine.checkpoint import BUNDLED_CHECKPOINT, load_checkpoints, load_prompt_encoders
from engine.tokenizer import CheckpointTokenizer

OURS = CheckpointTokenizer(BUNDLED_CHECKPOINT)


@pytest.fixture(scope="module")
def theirs() -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(BUNDLED_CHECKPOINT)
    return tokenizer


def list_control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [str(token) for token in tokenizer.all_special_tokens]


def test_texts_become_the_same_tokens(theirs: PreTrainedTokenizerBase) -> None:
    control = list_control_tokens(theirs)
    assert control
    texts = ["", " ", "解方程 3x + 5 = 20", "１千米＝____米", "a\n\tb", "👍🏽", *control]
    texts += [f"把{token}算出来{token}" for token in control]
    options = {"add_special_tokens": False, "split_special_tokens": True}
    assert OURS(texts, **options)["input_ids"] == theirs(texts, **options)["input_ids"]
    whole = {"add_special_tokens": False}
    assert OURS(control, **whole)["input_ids"] == theirs(control, **whole)["input_ids"]


def test_what_somebody_types_never_becomes_a_control_token(
    theirs: PreTrainedTokenizerBase,
) -> None:
    ids = set(theirs.all_special_ids)
    for text in list_control_tokens(theirs):
        (found,) = OURS([text], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert found and not ids & set(found)


@given(st.text(max_size=60))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_becomes_the_same_tokens(theirs: PreTrainedTokenizerBase, text: str) -> None:
    options = {"add_special_tokens": False, "split_special_tokens": True}
    assert OURS([text], **options)["input_ids"] == theirs([text], **options)["input_ids"]


def test_the_chat_template_is_rendered_as_theirs(theirs: PreTrainedTokenizerBase) -> None:
    messages = [{"role": "user", "content": "三角形的内角和是多少度？"}]
    expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert OURS.apply_chat_template(messages, add_generation_prompt=True) == expected


def vouch_for_files(folder: Path) -> None:
    """Let the manifest vouch for the files as they are: damaged before it was written. It keeps no
    frame, so the template is what makes prompts, as in older checkpoints."""
    manifest = read_manifest(folder, verify_weights=False)
    tasks = tuple(task.model_copy(update={"frame": None}) for task in manifest.tasks)
    changes = {"files_sha256": hash_deciding_files(folder), "tasks": tasks}
    write_manifest(manifest.model_copy(update=changes), folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("chat_template.jinja", "{{ raise_exception('no') }}"),
        ("chat_template.jinja", "{% if %}"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_remedy(tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder)
    (folder / name).write_text(text, encoding="utf-8")
    vouch_for_files(folder)
    (checkpoint,) = load_checkpoints([folder])
    with pytest.raises(CheckpointError, match="export the checkpoint again") as error:
        load_prompt_encoders(checkpoint)
    assert "\n" not in str(error.value)


def test_a_template_may_stand_in_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED_CHECKPOINT, folder)
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["chat_template"] = "{{ messages[0]['content'] }}{{ eos_token }}"
    config["eos_token"] = {"content": "<end>"}
    path.write_text(json.dumps(config), encoding="utf-8")
    message = [{"role": "user", "content": "好"}]
    assert CheckpointTokenizer(folder).apply_chat_template(message) == "好<end>"
