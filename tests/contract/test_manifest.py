"""A checkpoint that breaks the contract is refused, with the reason and the remedy."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contract.labels import IRF, TIMSS
from contract.manifest import (
    DECIDING_FILES,
    MANIFEST_NAME,
    WEIGHTS_NAME,
    CheckpointError,
    Manifest,
    Task,
    check_labels_agree,
    hash_file,
    read_manifest,
    write_manifest,
)
from contract.prompts import ContextWindow, Frame
from tests.contract.examples import make_manifest, make_task


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"weights")
    write_manifest(make_manifest(weights_sha256=hash_file(tmp_path / WEIGHTS_NAME)), tmp_path)
    return tmp_path


def edit(checkpoint: Path, **changes: Any) -> None:
    path = checkpoint / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_written_is_read_again(checkpoint: Path) -> None:
    manifest = read_manifest(checkpoint)
    assert manifest == make_manifest(weights_sha256=hash_file(checkpoint / WEIGHTS_NAME))
    assert manifest.task("irf").label_set == IRF
    with pytest.raises(KeyError):
        manifest.task("unknown")
    assert [path.name for path in checkpoint.iterdir() if path.suffix == ".tmp"] == []


def test_other_weights_are_refused(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS_NAME).write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="sha256 differs"):
        read_manifest(checkpoint)
    assert read_manifest(checkpoint, verify_weights=False).name == "example"


@pytest.mark.parametrize("name", DECIDING_FILES)
def test_other_files_that_decide_are_refused(checkpoint: Path, name: str) -> None:
    (checkpoint / "tokenizer.json").write_text("{}")
    write_manifest(read_manifest(checkpoint), checkpoint)
    (checkpoint / name).write_text('{"another": 1}')
    with pytest.raises(CheckpointError, match=f"{name} is not the file"):
        read_manifest(checkpoint)
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"is not the file .*\(missing"):
        read_manifest(checkpoint)


DECIDED_BY_ITS_TASKS = {
    "label_set": TIMSS.model_copy(update={"labels": tuple(reversed(TIMSS.labels))}),
    "rows": [6, 5, 4, 3, 2, 1, 0],
    "temperature": 2.5,
    "biases": [0.1] * 7,
    "training_prior": [1 / 7] * 7,
    "conformal_thresholds": [0.2] * 7,
    "conformal_coverage": 0.8,
    "prompt_version": "instruct-1",
    "max_tokens": 256,
    "frame": Frame(before=(1,), after=(2,)),
    "window": ContextWindow(2, 0),
}


def test_what_decides_an_answer_is_in_the_fingerprint(checkpoint: Path) -> None:
    manifest = make_manifest(tasks=[make_task()], files_sha256={"config.json": "1" * 64})
    others = [
        manifest.model_copy(update={"weights_sha256": "1" * 64}),
        manifest.model_copy(update={"graph_sha256": "1" * 64}),
        manifest.model_copy(update={"files_sha256": {"config.json": "2" * 64}}),
        *(make_manifest(tasks=[make_task(**{name: value})], files_sha256=manifest.files_sha256)
          for name, value in DECIDED_BY_ITS_TASKS.items()),
    ]  # fmt: skip
    assert len({each.fingerprint for each in (manifest, *others)}) == 1 + len(others)
    assert set(DECIDED_BY_ITS_TASKS) == set(Task.model_fields) - {"evaluation"}
    same = {"name": "another", "created": "2027-01-01", "losses": {"x": 1}, "format_version": 1}
    assert manifest.model_copy(update=same).fingerprint == manifest.fingerprint


def test_a_manifest_that_names_no_files_takes_on_those_beside_it(checkpoint: Path) -> None:
    found = set()
    for text in ("{}", "[]"):
        (checkpoint / "tokenizer.json").write_text(text)
        found.add(read_manifest(checkpoint).fingerprint)
    assert len(found) == 2


def test_an_instruction_names_another_model_and_none_changes_no_name() -> None:
    plain = make_manifest(tasks=[make_task()])
    fields = plain.model_dump(mode="json")
    del fields["tasks"][0]["label_set"]["instruction"]  # as a release before would have it
    assert Manifest.model_validate(fields).fingerprint == plain.fingerprint == "b437d30a9997"
    own = TIMSS.model_copy(update={"instruction": "Which class?"})
    assert make_manifest(tasks=[make_task(own)]).fingerprint != plain.fingerprint


def test_missing_files_are_named(checkpoint: Path) -> None:
    (checkpoint / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match=WEIGHTS_NAME):
        read_manifest(checkpoint)
    (checkpoint / MANIFEST_NAME).unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_manifest(checkpoint)


def test_a_newer_format_is_refused_even_if_its_form_is_unknown(checkpoint: Path) -> None:
    edit(checkpoint, format_version=4, a_new_field=1)
    with pytest.raises(CheckpointError, match="update NCAL Serve"):
        read_manifest(checkpoint)


def test_a_manifest_of_before_there_were_biases_is_read(checkpoint: Path) -> None:
    fields = json.loads((checkpoint / MANIFEST_NAME).read_text(encoding="utf-8"))
    for task in fields["tasks"]:
        del task["biases"]
    edit(checkpoint, format_version=1, tasks=fields["tasks"])
    assert read_manifest(checkpoint).task("timss").biases == ()


def test_malformed_manifests_name_the_field(checkpoint: Path) -> None:
    edit(checkpoint, weights_sha256="short")
    with pytest.raises(CheckpointError, match="weights_sha256"):
        read_manifest(checkpoint)
    (checkpoint / MANIFEST_NAME).write_text("{}")
    with pytest.raises(CheckpointError, match="format_version"):
        read_manifest(checkpoint)


def test_two_checkpoints_must_mean_the_same_labels_by_one_task() -> None:
    problems = make_manifest(name="problems", tasks=[make_task()])
    turns = make_manifest(name="turns", tasks=[make_task(IRF)])
    both = make_manifest(name="both", tasks=[make_task(temperature=1.0), make_task(IRF, 7)])
    check_labels_agree([problems, turns, both])
    fewer = IRF.model_copy(update={"labels": IRF.labels[:-1]})
    with pytest.raises(CheckpointError, match=r"turns \(.*\) and fewer \(.*'irf' with different"):
        check_labels_agree([turns, make_manifest(name="fewer", tasks=[make_task(fewer)])])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": [0, 1, 2]}, "rows must have one entry"),
        ({"rows": [0, 0, 1, 2, 3, 4, 5]}, "rows must be different"),
        ({"training_prior": [0.2] * 7}, "must sum to 1"),
        ({"training_prior": [0.0, 0.4, 0.1, 0.1, 0.1, 0.1, 0.2]}, "must be positive"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"biases": [0.1] * 6}, "biases must have one entry for each of the 7 labels, or none"),
        ({"biases": [math.nan] * 7}, "finite number"),
        ({"conformal_thresholds": [0.1]}, "conformal_thresholds must have one entry"),
    ],
)
def test_a_task_must_fit_its_labels(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        make_task(TIMSS, **changes)


def test_tasks_share_neither_names_nor_rows() -> None:
    with pytest.raises(ValidationError, match="appears twice"):
        make_manifest(tasks=[make_task(), make_task(TIMSS, 7)])
    with pytest.raises(ValidationError, match="same row"):
        make_manifest(tasks=[make_task(), make_task(IRF, 6)])
