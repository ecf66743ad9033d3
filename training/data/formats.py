"""How files spell labelled examples: one reader for each form, one record for all.

- `tmwpl`, `pmtd`: the NCAL data sets' own JSON lines.
- `dialogid`: JSON lines `{"text", "label"}`, sentences of a teacher without context.
- `math-problems`: JSON lines `{"text", "source"}` without labels; sources that end in
  `-analysis` are worked answers, no problems, and left out.
- `conversation`: JSON lines `{"conversation": [{"role", "content"}, …], "label"}`, the form of
  NCAL's `train_example.json`. A problem is
  the last `user` message. In a dialogue every message is a turn (`user` is the student,
  `assistant` the teacher), and the last one is labelled.
- `csv`: a header and a record a line. Problems have the columns `text` and `label`. Dialogues
  have `dialogue`, `speaker`, `text` and `label`, turns in spoken order; a turn without a label
  is context only. A column `id` is optional.
- `table`: a file of any form that `tables` reads; its columns are recognised, or named in the
  recipe (`training.data.own_tables`).

Where JSON lines are read, one array of the same objects is read too.
"""

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contract.inputs import AnyInput, DialogueTurn, Kind, Problem, Turn
from tables.errors import FileError
from tables.json_rows import JsonTable
from training.data.own_tables import read_table
from training.data.records import Record, explain, place_turn, validate
from training.errors import BadInput
from training.recipe.recipe import LabelledFile


def read_records(source: LabelledFile, kind: Kind) -> Iterator[Record]:
    """Yield the records of a file; BadInput names file, line and reason of a wrong one."""
    if source.format == "csv":
        return _read_csv(source.path, kind)
    if source.format == "table":
        return read_table(source, kind)
    return _read_json_lines(source.path, _PARSERS[source.format, kind])


_Parsed = tuple[str | None, AnyInput, Any]
"""Id, input, data label."""
_NO_LABEL = object()  # None would be a label that was forgotten


def _read_json_lines(
    path: Path, parse: Callable[[dict[str, Any]], _Parsed | None]
) -> Iterator[Record]:
    for number, content in _read_objects(path):
        place = f"{path}:{number}"
        try:
            parsed = parse(content)
        except ValidationError as error:
            raise explain(place, error) from error
        except KeyError as error:
            raise BadInput(f"{place}: missing field {error}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise BadInput(f"{place}: {error}") from error
        if parsed is None:
            continue
        record_id, item, data_label = parsed
        label = None if data_label is _NO_LABEL else str(data_label)
        yield Record(place, record_id or str(number), item, label, number)


def _read_objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Line and value of each record, of JSON lines or of one array."""
    text = _read_text(path)
    if text.lstrip().startswith("["):
        try:
            for row in JsonTable.open(path, "json").rows():
                yield row.line, row.values
        except FileError as error:
            raise BadInput(str(error)) from error
        return
    # split("\n"), not splitlines(): a text may hold other line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise BadInput(f"{path}:{number}: not JSON: {error}") from error


def _parse_tmwpl(record: dict[str, Any]) -> _Parsed:
    return record["id"], Problem(text=record["question"]), record["class"]


def _parse_pmtd(record: dict[str, Any]) -> _Parsed:
    """`dialog_history` holds the turn before, the turn itself and the turn after."""
    turns = [
        Turn.model_validate({"speaker": speaker, "text": text})
        for turn in record["dialog_history"]
        for speaker, text in turn.items()
    ]
    wanted = record["dialog_content"].strip()
    places = [index for index, turn in enumerate(turns) if turn.text == wanted]
    if not places:
        raise ValueError("dialog_content does not stand in dialog_history")
    middle = len(turns) // 2
    place = middle if middle in places else places[0]
    return record["id"], place_turn(turns, place), record["class"]


def _parse_dialogid(record: dict[str, Any]) -> _Parsed:
    return record.get("id"), DialogueTurn(speaker="teacher", text=record["text"]), record["label"]


def _parse_conversation_problem(record: dict[str, Any]) -> _Parsed:
    texts = [m["content"] for m in record["conversation"] if m["role"] == "user"]
    if not texts:
        raise ValueError("the conversation has no user message")
    return record.get("id"), Problem(text=texts[-1]), record["label"]


def _parse_conversation_turn(record: dict[str, Any]) -> _Parsed:
    speakers = {"user": "student", "assistant": "teacher"}
    turns = [
        Turn.model_validate({"speaker": speakers.get(m["role"], m["role"]), "text": m["content"]})
        for m in record["conversation"]
        if m["role"] != "system"
    ]
    return record.get("id"), place_turn(turns, len(turns) - 1), record["label"]


def _parse_math_problem(record: dict[str, Any]) -> _Parsed | None:
    if str(record.get("source")).endswith("-analysis"):
        return None
    return record.get("id"), Problem(text=record["text"]), _NO_LABEL


_PARSERS: dict[tuple[str, Kind], Callable[[dict[str, Any]], _Parsed | None]] = {
    ("tmwpl", "problem"): _parse_tmwpl,
    ("pmtd", "dialogue-turn"): _parse_pmtd,
    ("dialogid", "dialogue-turn"): _parse_dialogid,
    ("math-problems", "problem"): _parse_math_problem,
    ("conversation", "problem"): _parse_conversation_problem,
    ("conversation", "dialogue-turn"): _parse_conversation_turn,
}


def _read_csv(path: Path, kind: Kind) -> Iterator[Record]:
    rows = csv.DictReader(_read_text(path).splitlines(keepends=True), strict=True)
    wanted = ["text", "label"] if kind == "problem" else ["dialogue", "speaker", "text", "label"]
    try:
        missing = [column for column in wanted if column not in (rows.fieldnames or [])]
        if missing:
            raise BadInput(f"{path}:1: missing column {', '.join(missing)}")
        numbered = [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise BadInput(f"{path}:{rows.line_num}: not CSV: {error}") from error
    if kind == "problem":
        for number, row in numbered:
            place = f"{path}:{number}"
            problem = validate(place, Problem, {"text": row["text"]})
            yield Record(place, row.get("id") or str(number), problem, row["label"], number)
        return
    for _, group in itertools.groupby(numbered, key=lambda pair: pair[1]["dialogue"]):
        yield from _read_transcript(path, list(group))


def _read_transcript(path: Path, rows: list[tuple[int, dict[str, Any]]]) -> Iterator[Record]:
    turns = [
        validate(f"{path}:{number}", Turn, {"speaker": row["speaker"], "text": row["text"]})
        for number, row in rows
    ]
    for index, (number, row) in enumerate(rows):
        if row["label"]:
            item = place_turn(turns, index)
            record_id = row.get("id") or str(number)
            yield Record(f"{path}:{number}", record_id, item, row["label"], number)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before their CSV
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; check `sources` in the recipe") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
