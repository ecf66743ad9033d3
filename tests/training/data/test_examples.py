"""Reading: the data sets' own form, and a message for everything that is wrong."""

import random
from pathlib import Path
from typing import Any

import pytest

from contract.inputs import DialogueTurn, Problem, Turn
from contract.labels import BUILT_IN, IRF, TIMSS
from tests.training.tiny import make_data, write_lines
from training.data.examples import (
    augment,
    fingerprint_sources,
    measure_prior,
    read_examples,
    read_label_sets,
    report_repeats,
    strip_following,
)
from training.errors import BadInput
from training.recipe.recipe import AugmentationRecipe, LabelledFile, SourceRecipe

GOOD_PROBLEM = {"id": "1", "question": "1+1=？", "class": "回忆"}
GOOD_TURN = {
    "id": "1",
    "dialog_content": "对。",
    "class": "R-SR",
    "dialog_history": [{"teacher": "懂了吗"}, {"student": "对。"}, {"teacher": "好"}],
}


def source(path: Path, format: str = "tmwpl", task: str = "timss") -> SourceRecipe:
    return SourceRecipe.model_validate({"path": path, "format": format, "task": task})


def test_both_data_sets_are_read(tmp_path: Path) -> None:
    make_data(tmp_path)
    sources = [
        source(tmp_path / "problems.jsonl"), source(tmp_path / "turns.jsonl", "pmtd", "irf")
    ]  # fmt: skip
    examples = read_examples(sources, BUILT_IN, folds=2)
    assert len(examples) == 6 * (7 + 8)
    assert examples[0].item == Problem(text="三角形0？")
    assert examples[-1].item == DialogueTurn(
        speaker="student",
        text="想一想分母5",
        previous=(Turn(speaker="teacher", text="看题"),),
        following=(Turn(speaker="teacher", text="好"),),
    )
    assert measure_prior(examples, IRF) == [1 / 8] * 8
    assert measure_prior(examples[:12], TIMSS) == [0.5, 0.5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("history", "previous", "following"),
    [
        ([{"student": "对。"}, {"teacher": "好"}], 0, 1),
        ([{"teacher": "懂了吗"}, {"student": "对。"}], 1, 0),
        # The same words before: the turn itself is the middle one.
        ([{"student": "对。"}, {"student": "对。"}, {"teacher": "好"}], 1, 1),
    ],
)
def test_the_turn_is_found_in_its_history(
    tmp_path: Path, history: list[dict[str, str]], previous: int, following: int
) -> None:
    write_lines(tmp_path / "x.jsonl", [GOOD_TURN | {"dialog_history": history}])
    with pytest.raises(BadInput, match="fewer than the 2 folds"):
        read_examples([source(tmp_path / "x.jsonl", "pmtd", "irf")], BUILT_IN, folds=2)
    only = IRF.model_copy(update={"labels": IRF.labels[3:4]})
    examples = read_examples([source(tmp_path / "x.jsonl", "pmtd", "irf")], {"irf": only}, folds=1)
    item = examples[0].item
    assert isinstance(item, DialogueTurn)
    assert (len(item.previous), len(item.following)) == (previous, following)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "question"', "not JSON"),
        ('{"id": "1", "question": "1+1", "class": "难题"}', "unknown label '难题'"),
        ('{"id": "1", "class": "回忆"}', "missing field 'question'"),
        ('{"id": "1", "question": "1+1"}', "missing field 'class'"),
        ('{"id": "1", "question": "1+1", "class": null}', "unknown label 'None'"),
        ('{"id": "1", "question": "  ", "class": "回忆"}', "text: String should have at least 1"),
        ('["1+1"]', "list indices must be"),
    ],
)
def test_a_malformed_problem_names_file_line_and_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    write_lines(tmp_path / "data.jsonl", [GOOD_PROBLEM])
    with (tmp_path / "data.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(BadInput) as caught:
        read_examples([source(tmp_path / "data.jsonl")], BUILT_IN, folds=1)
    assert "data.jsonl:2: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dialog_content": "错。"}, "does not stand in dialog_history"),
        ({"dialog_history": [{"parent": "对。"}]}, "speaker"),
        ({"dialog_history": None}, "not iterable"),
    ],
)
def test_a_malformed_turn_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    write_lines(tmp_path / "data.jsonl", [GOOD_TURN | change])
    with pytest.raises(BadInput, match=reason):
        read_examples([source(tmp_path / "data.jsonl", "pmtd", "irf")], BUILT_IN, folds=1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_examples([source(tmp_path / "none.jsonl")], BUILT_IN, folds=1)
    (tmp_path / "gbk.jsonl").write_bytes(b"{}\n" + "回忆".encode("gbk"))
    with pytest.raises(BadInput, match=r"gbk\.jsonl:2: not UTF-8"):
        read_examples([source(tmp_path / "gbk.jsonl")], BUILT_IN, folds=1)
    with pytest.raises(BadInput, match="no label set 'other'"):
        read_examples([source(tmp_path / "gbk.jsonl", task="other")], BUILT_IN, folds=1)
    (tmp_path / "set.yaml").write_text("task: mine\nkind: problem\n")
    with pytest.raises(BadInput, match="not a label set"):
        read_label_sets([tmp_path / "set.yaml"])


def test_a_line_separator_inside_a_text_is_no_new_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "data.jsonl", [GOOD_PROBLEM | {"question": "甲\u2028乙"}])
    only = TIMSS.model_copy(update={"labels": TIMSS.labels[:1]})
    examples = read_examples([source(tmp_path / "data.jsonl")], {"timss": only}, folds=1)
    assert examples[0].item == Problem(text="甲\u2028乙")


def test_repeats_are_reported_with_contradictions_first(tmp_path: Path) -> None:
    make_data(tmp_path, per_class=2)
    examples = read_examples([source(tmp_path / "problems.jsonl")], BUILT_IN, folds=1)
    assert report_repeats(examples) == []
    same = examples[0]._replace(id="copy")
    other = examples[3]._replace(id="contradiction", label=0)
    assert report_repeats([*examples, same, other]) == [
        "contradictory labels: pidentify1, contradiction",
        "repeated: precall0, copy",
    ]


def test_augmentation_changes_only_what_it_may() -> None:
    item = DialogueTurn(
        speaker="teacher",
        text="10加25等于35吗",
        previous=(Turn(speaker="student", text="3"),),
        following=(Turn(speaker="student", text="4"),),
    )
    assert augment(item, AugmentationRecipe(), random.Random(0)) is item
    everything = AugmentationRecipe(drop_following=1, drop_previous=1, perturb_numbers=1)
    changed = augment(item, everything, random.Random(0))
    assert isinstance(changed, DialogueTurn)
    assert (changed.previous, changed.following) == ((), ())
    assert changed.text != item.text
    assert changed.text.startswith("10加") and not set("01") & set(changed.text[3:])
    assert augment(item, everything, random.Random(0)) == changed
    reworded = {
        augment(item, AugmentationRecipe(reword=1), random.Random(seed)).text for seed in range(20)
    }
    assert len(reworded) > 3
    live = strip_following(item)
    assert isinstance(live, DialogueTurn)
    assert live.following == () and live.previous == item.previous


def test_conversations_are_read(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "1+1=？"}]
    write_lines(tmp_path / "problems.jsonl", [{"conversation": messages, "label": "回忆"}])
    only = {"timss": TIMSS.model_copy(update={"labels": TIMSS.labels[:1]})}
    problems = source(tmp_path / "problems.jsonl", "conversation")
    assert read_examples([problems], only, folds=1)[0].item == Problem(text="1+1=？")
    messages = [{"role": "teacher", "content": "几？"}, {"role": "user", "content": "二"}]
    write_lines(tmp_path / "turns.jsonl", [{"conversation": messages, "label": "R-FR"}])
    only = {"irf": IRF.model_copy(update={"labels": IRF.labels[4:5]})}
    example = read_examples(
        [source(tmp_path / "turns.jsonl", "conversation", "irf")], only, folds=1
    )[0]
    assert example.item == DialogueTurn(
        speaker="student", text="二", previous=(Turn(speaker="teacher", text="几？"),)
    )
    write_lines(tmp_path / "none.jsonl", [{"conversation": messages[:1], "label": "回忆"}])
    with pytest.raises(BadInput, match=r"none\.jsonl:1: the conversation has no user message"):
        read_examples([source(tmp_path / "none.jsonl", "conversation")], BUILT_IN, folds=1)


def test_csv_of_problems(tmp_path: Path) -> None:
    path = tmp_path / "problems.csv"
    path.write_text('text,label,id\n"2, 3 和\n4",回忆,a\n"5",回忆,\n', encoding="utf-8-sig")
    only = {"timss": TIMSS.model_copy(update={"labels": TIMSS.labels[:1]})}
    examples = read_examples([source(path, "csv")], only, folds=1)
    assert [(e.id, e.item) for e in examples] == [
        ("a", Problem(text="2, 3 和\n4")),
        ("4", Problem(text="5")),
    ]
    path.write_text("text\n5\n")
    with pytest.raises(BadInput, match=r"problems\.csv:1: missing column label"):
        read_examples([source(path, "csv")], only, folds=1)
    path.write_text('text,label\n"5\n')
    with pytest.raises(BadInput, match="not CSV"):
        read_examples([source(path, "csv")], only, folds=1)
    path.write_text("text,label\n ,回忆\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"problems\.csv:2: text: "):
        read_examples([source(path, "csv")], only, folds=1)


def test_csv_of_transcripts_builds_the_context(tmp_path: Path) -> None:
    (tmp_path / "turns.csv").write_text(
        "dialogue,speaker,text,label\n"
        "1,teacher,几？,\n1,student,二,R-FR\n1,teacher,好,\n2,student,三,R-FR\n",
        encoding="utf-8",
    )
    only = {"irf": IRF.model_copy(update={"labels": IRF.labels[4:5]})}
    first, second = read_examples([source(tmp_path / "turns.csv", "csv", "irf")], only, folds=1)
    assert first.item == DialogueTurn(
        speaker="student",
        text="二",
        previous=(Turn(speaker="teacher", text="几？"),),
        following=(Turn(speaker="teacher", text="好"),),
    )
    assert second.item == DialogueTurn(speaker="student", text="三")  # another dialogue


def test_a_format_of_another_kind_is_refused(tmp_path: Path) -> None:
    make_data(tmp_path)
    with pytest.raises(BadInput, match="holds inputs of kind dialogue-turn"):
        read_examples([source(tmp_path / "turns.jsonl", "pmtd")], BUILT_IN, folds=1)


def test_files_of_one_name_keep_their_own_fingerprints(tmp_path: Path) -> None:
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.csv").write_text(folder, encoding="utf-8")
        files.append(LabelledFile(path=tmp_path / folder / "same.csv", format="csv", task="timss"))
    prints = fingerprint_sources(files)
    assert len(set(prints.values())) == 2
    assert set(prints) == {file.path.as_posix() for file in files}
    assert set(fingerprint_sources(files[:1])) == {"same.csv"}
