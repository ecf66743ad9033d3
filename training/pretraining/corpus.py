"""Unlabelled text for pretraining, written in the very form of the service's prompts."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.inputs import DialogueTurn, Problem, Speaker, Turn
from contract.prompts import ContextWindow, format_message
from training.data.recurrence import normalize_text
from training.errors import BadInput
from training.pretraining.tokenizer import ASSISTANT, END, USER

_WINDOW = ContextWindow()
_DIALOGUE_CHARS = 160  # a stretch of dialogue about as long as a training block
_INSTRUCTION_TYPES = {  # DialogID's nine types, in Chinese, as the continuation to predict
    "others": "其他", "example-giving": "举例", "guidance": "引导", "reviewing": "复习",
    "note-taking": "记笔记", "repeating": "重复", "commending": "表扬",
    "summarization": "总结", "greeting": "问候",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """The pretraining texts of `data/text`, less any that recur in the labelled data.

    Leaving those out keeps cross-validation clean: the backbone has not read the
    problems and turns on which it is judged.
    """

    problems: list[str] = field(default_factory=list)
    worked_problems: list[tuple[str, str]] = field(default_factory=list)
    sentences: list[tuple[str, str]] = field(default_factory=list)
    dialogues: list[list[str]] = field(default_factory=list)
    left_out: int = 0
    fingerprints: dict[str, str] = field(default_factory=dict)

    def iterate_texts(self) -> Iterator[str]:
        """All plain texts, for the tokenizer."""
        yield from self.problems
        for problem, analysis in self.worked_problems:
            yield problem
            yield analysis
        yield from (text for text, _ in self.sentences)
        for dialogue in self.dialogues:
            yield from dialogue
        yield from ("师：生：下文师：本句师：本句生：下文生：" for _ in range(1000))

    def iterate_documents(self, rng: random.Random) -> Iterator[str]:
        """One epoch of documents in random order; dialogues are cut at other places each time."""
        documents = [_as_document(_format_problem(text)) for text in self.problems]
        documents += [
            _as_document(_format_problem(problem), analysis)
            for problem, analysis in self.worked_problems
        ]
        for text, label in self.sentences:
            turn = DialogueTurn(speaker="teacher", text=text)
            message = format_message(turn, "compact-1", _WINDOW)
            documents.append(_as_document(message, _INSTRUCTION_TYPES[label]))
        for dialogue in self.dialogues:
            documents += _cut_dialogue(dialogue, rng)
        rng.shuffle(documents)
        yield from documents


def read_corpus(text_folder: Path, labelled_files: Sequence[Path]) -> Corpus:
    """Read `math_problems`, `dialogues` and `dialogid` from a folder.

    Raises BadInput if a file is missing or a line is not what it should be.
    """
    judged = {normalize_text(text) for path in labelled_files for text in _iterate_strings(path)}
    corpus = Corpus()
    left_out = 0
    rows = list(_read_rows(text_folder / "math_problems.jsonl"))
    for index, row in enumerate(rows):
        text, source = row["text"].strip(), row["source"]
        if not text or source == "tal-scq5k-analysis":
            continue
        if normalize_text(text) in judged:
            left_out += 1
            continue
        follower = rows[index + 1] if index + 1 < len(rows) else {}
        if source == "tal-scq5k" and follower.get("source") == "tal-scq5k-analysis":
            corpus.worked_problems.append((text, follower["text"].strip()))
        else:
            corpus.problems.append(text)
    for row in _read_rows(text_folder / "dialogid.jsonl"):
        if row["text"].strip() and normalize_text(row["text"]) not in judged:
            corpus.sentences.append((row["text"].strip(), row["label"]))
    for row in _read_rows(text_folder / "dialogues.jsonl"):
        corpus.dialogues.append([turn.strip() for turn in row["text"].split("\n") if turn.strip()])
    names = ("math_problems", "dialogues", "dialogid")
    paths = [text_folder / f"{name}.jsonl" for name in names]
    fingerprints = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return Corpus(
        problems=corpus.problems,
        worked_problems=corpus.worked_problems,
        sentences=corpus.sentences,
        dialogues=corpus.dialogues,
        left_out=left_out,
        fingerprints=fingerprints,
    )


def _format_problem(text: str) -> str:
    return format_message(Problem(text=text), "compact-1", _WINDOW)


def _as_document(message: str, answer: str | None = None) -> str:
    return USER + message + ("" if answer is None else ASSISTANT + answer) + END


def _cut_dialogue(dialogue: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Half of a dialogue as running text, half as turns asked for with their context."""
    speakers: tuple[Speaker, Speaker] = ("teacher", "student")
    if rng.random() < 0.5:
        speakers = ("student", "teacher")
    turns = [Turn(speaker=speakers[i % 2], text=text) for i, text in enumerate(dialogue)]
    start = 0
    while start < len(turns):
        stop, length = start, 0
        while stop < len(turns) and length < _DIALOGUE_CHARS:
            length += len(turns[stop].text)
            stop += 1
        if rng.random() < 0.5:
            marks = {"teacher": "师：", "student": "生："}
            yield _as_document("\n".join(marks[t.speaker] + t.text for t in turns[start:stop]))
        else:
            for index in range(start, stop, 2):
                yield _as_document(_format_turn(turns, index, live=rng.random() < 0.3))
        start = stop


def _format_turn(turns: Sequence[Turn], index: int, *, live: bool) -> str:
    item = DialogueTurn(
        speaker=turns[index].speaker,
        text=turns[index].text,
        previous=tuple(turns[max(0, index - 1) : index]),
        following=() if live else tuple(turns[index + 1 : index + 2]),
    )
    return format_message(item, "compact-1", _WINDOW)


def _read_rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read: {error}; pass the folder with --data") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise BadInput(f"{path}:{number}: expected an object with a string `text`")
        yield row


def _iterate_strings(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row.get("question") or row.get("dialog_content") or ""
