"""What a stranger names as data: a table, NCAL's own JSON, or a data set of the hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from contract.inputs import Kind
from tables.files import SUFFIXES
from training.data.formats import read_records
from training.data.own_tables import find_conversations, open_own_table, read_own_table
from training.data.records import Record
from training.errors import BadInput
from training.hub import is_hub_id
from training.proposal.class_names import read_class_names
from training.proposal.hub_data import fetch_data
from training.recipe.recipe import ColumnNames, LabelledFile


class Sources(NamedTuple):
    """The files of a run, and what stands in those that are trained on."""

    train: list[LabelledFile]
    dev: list[LabelledFile]
    test: list[LabelledFile]
    kind: Kind
    records: list[Record]
    """Of `train`."""
    class_names: Mapping[str, str]
    """Label of the data → its name, where the file says so."""
    origin: str
    """What the model card calls them."""
    licence: str | None


class _Looked(NamedTuple):
    """One file, the columns that it was found to have, and its records."""

    source: LabelledFile
    kind: Kind
    records: list[Record]


def find_sources(
    data: str,
    *,
    task: str,
    columns: ColumnNames,
    dev: Path | None,
    test: Path | None,
    folder: Path,
) -> Sources:
    """Look at a file, or fetch a data set of the hub into `folder`, and read what is trained on.

    What `dev` and `test` name goes before the parts that a data set brings. Raises BadInput for
    what cannot be read, found or reached.
    """
    path = Path(data)
    train, own_dev, own_test = [path], _list(dev), _list(test)
    origin, licence = path.name, None
    if not path.exists() and is_hub_id(data) and path.suffix.lower() not in SUFFIXES:
        fetched = fetch_data(data, folder)
        train = fetched.parts["train"]
        own_dev = own_dev or fetched.parts.get("dev", [])
        own_test = own_test or fetched.parts.get("test", [])
        origin, licence = f"{data}, revision {fetched.revision[:12]}", fetched.licence
    looked = [_look(each, task, columns) for each in train]
    first = looked[0]
    if strange := [each for each in looked if each.kind != first.kind]:
        raise BadInput(
            f"{strange[0].source.path}: holds inputs of another kind than {train[0]}; train from "
            "one of them"
        )
    records = [record for each in looked for record in each.records]
    label = first.source.columns.label
    return Sources(
        train=[each.source for each in looked],
        dev=[_place(each, first.source) for each in own_dev],
        test=[_place(each, first.source) for each in own_test],
        kind=first.kind,
        records=records,
        class_names=read_class_names(train[0], label) if label else {},
        origin=origin,
        licence=licence,
    )


def _list(path: Path | None) -> list[Path]:
    return [] if path is None else [path]


def _look(path: Path, task: str, columns: ColumnNames) -> _Looked:
    """Recognise the form of a file and its columns, and read it."""
    source = LabelledFile(path=path.resolve(), format="table", task=task, columns=columns)
    if columns == ColumnNames() and (kind := find_conversations(path)):
        source = source.model_copy(update={"format": "conversation"})
        return _Looked(source, kind, list(read_records(source, kind)))
    own = open_own_table(source)
    kind = "problem" if own.columns.kind == "problems" else "dialogue-turn"
    found = ColumnNames(
        text=own.columns.text,
        label=own.columns.label,
        speaker=own.columns.speaker,
        dialogue=own.columns.dialogue,
    )
    if not own.is_expanded:  # else its columns are not those of the file
        source = source.model_copy(update={"columns": found})
    return _Looked(source, kind, list(read_own_table(own, kind)))


def _place(path: Path, source: LabelledFile) -> LabelledFile:
    """Another file with the form and the columns of one that was looked at."""
    return source.model_copy(update={"path": path.resolve()})


def describe(sources: Sources, data: str) -> Sequence[str]:
    """What was recognised, a line each."""
    first = sources.train[0]
    what = "problems" if sources.kind == "problem" else "turns"
    columns = first.columns
    lines = [
        f"{data}: {len(sources.records):,} {what}"
        + (f", text in column {columns.text!r}" if columns.text else "")
        + (f", label in {columns.label!r}" if columns.label else "")
        + (f", speaker in {columns.speaker!r}" if columns.speaker else "")
    ]
    if sources.dev:
        lines.append(f"calibrated and measured on {_names(sources.dev)}, without cross-validation")
    if sources.test:
        lines.append(f"tested on {_names(sources.test)}, which nothing is learned from")
    return lines


def _names(files: Sequence[LabelledFile]) -> str:
    return ", ".join(each.path.name for each in files)
