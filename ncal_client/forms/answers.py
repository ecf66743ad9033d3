"""What the service answers, typed. Fields of a later release of the service are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ncal_client.errors import ServiceError, read_error
from ncal_client.forms.items import ItemId
from ncal_client.forms.structure import Structure, read_structure


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which checkpoint has answered."""

    name: str
    fingerprint: str
    """Of all that decides an answer."""

    def __str__(self) -> str:
        return f"{self.name} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The label of one item, and how sure the model is."""

    task: str
    label: str
    """Id of the most probable class."""
    name_en: str
    name_zh: str
    group: str
    """TIMSS domain of a dimension, or IRF move of a turn label."""
    confidence: float
    """Probability of `label`."""
    probabilities: Mapping[str, float]
    """Of every class, by label id."""
    prior: str
    """The class mix that label and probabilities are for."""
    needs_review: bool
    """True unless the prediction set holds `label` and nothing else."""
    was_cut: bool
    """True when the input was longer than the model reads."""
    model: ModelName
    prediction_set: tuple[str, ...] | None = None
    """The labels that cannot be excluded; only with `prediction_set=True`."""
    top: tuple[tuple[str, float], ...] | None = None
    """The most probable labels with their probabilities; only with `top_k`."""
    logits: Mapping[str, float] | None = None
    """Raw output of the head; only with `raw_logits=True`."""
    id: ItemId | None = None
    """Of an item that was sent alone and has one; among many, the result has it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one of many items: either `answer` or `error`."""

    index: int
    """Place of the item among those that were given."""
    id: ItemId | None
    answer: Answer | None
    error: ServiceError | None


@dataclass(frozen=True, slots=True)
class ClassMix:
    """The class mix that answers are given for."""

    kind: str
    """`uniform`, `training`, `given` or `estimated`."""
    shares: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] | None
    """95%, where the mix was estimated."""
    items: int | None
    """How many items it was estimated from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The results of a batch, in the order of its items."""

    prior: ClassMix
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class DialogueAnswer:
    """A label for every turn, and what the dialogue is like as a whole."""

    mode: str
    prior: ClassMix
    turns: tuple[Result, ...]
    """In spoken order."""
    structure: Structure | None
    """None where a turn has no label, or the labels make no exchanges."""


@dataclass(frozen=True, slots=True)
class LiveLabel:
    """The label of a turn of a live dialogue: either `answer` or `error`."""

    index: int
    id: ItemId | None
    is_final: bool
    """Whether the turns after it that the model reads were known."""
    answer: Answer | None
    error: ServiceError | None


@dataclass(frozen=True, slots=True)
class FileRows:
    """A file as rows, all cells as texts."""

    format: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    mapping: Mapping[str, Any]
    """Which column is what, as far as it can be told."""
    warnings: tuple[str, ...]
    sheet: str | None = None
    sheets: tuple[str, ...] = ()


def read_answer(data: Mapping[str, Any]) -> Answer:
    """Return an answer; KeyError or TypeError for what is none."""
    top = data.get("top")
    chosen = data.get("prediction_set")
    return Answer(
        task=data["task"],
        label=data["label"],
        name_en=data["name_en"],
        name_zh=data["name_zh"],
        group=data["group"],
        confidence=data["confidence"],
        probabilities=data["probabilities"],
        prior=data["prior"],
        needs_review=data["needs_review"],
        was_cut=data["was_cut"],
        model=ModelName(data["model"]["name"], data["model"]["fingerprint"]),
        prediction_set=None if chosen is None else tuple(chosen),
        top=None if top is None else tuple((each["label"], each["probability"]) for each in top),
        logits=data.get("logits"),
        id=data.get("id"),
    )


def read_result(data: Mapping[str, Any], index: int | None = None) -> Result:
    """Return a result of a batch, a stream or a dialogue; `index` where another one counts."""
    is_ok = data["status"] == "ok"
    return Result(
        index=data["index"] if index is None else index,
        id=data.get("id"),
        answer=read_answer(data["prediction"]) if is_ok else None,
        error=None if is_ok else read_error(data["error"]),
    )


def read_mix(data: Mapping[str, Any]) -> ClassMix:
    intervals = data["intervals"]
    return ClassMix(
        kind=data["kind"],
        shares=data["shares"],
        intervals=None
        if intervals is None
        else {label: (low, high) for label, (low, high) in intervals.items()},
        items=data["items"],
    )


def read_batch(data: Mapping[str, Any]) -> Batch:
    return Batch(read_mix(data["prior"]), tuple(map(read_result, data["results"])))


def read_dialogue(data: Mapping[str, Any]) -> DialogueAnswer:
    return DialogueAnswer(
        mode=data["mode"],
        prior=read_mix(data["prior"]),
        turns=tuple(map(read_result, data["turns"])),
        structure=None if data["structure"] is None else read_structure(data["structure"]),
    )


def read_live_label(data: Mapping[str, Any]) -> LiveLabel:
    """Return what is said of a turn: a label, or why it has none."""
    is_label = data["type"] == "label"
    return LiveLabel(
        index=data["index"],
        id=data.get("id"),
        is_final=data["final"],
        answer=read_answer(data["prediction"]) if is_label else None,
        error=None if is_label else read_error(data["error"]),
    )


def read_file_rows(data: Mapping[str, Any]) -> FileRows:
    return FileRows(
        format=data["format"],
        columns=tuple(data["columns"]),
        rows=tuple(tuple(row) for row in data["rows"]),
        mapping=data["mapping"],
        warnings=tuple(data["warnings"]),
        sheet=data.get("sheet"),
        sheets=tuple(data.get("sheets", ())),
    )
