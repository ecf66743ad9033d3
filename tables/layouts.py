"""Which column is what: known layouts of education data, else the names of the columns.

Pure: columns and some rows give a mapping. Layouts: NCTE (Demszky and Hill, 2023), TalkMoves
(Suresh et al., 2022), Amber and Sandpiper exports, MathDial (Macina et al., 2023), and the two
NCAL data sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tables.table import spell

Kind = Literal["problems", "turns"]
Layout = Literal[
    "ncte", "talkmoves", "amber", "sandpiper", "mathdial", "tmwpl", "pmtd", "transcript"
]
END_OF_TURN = "|EOM|"
"""What parts the turns of a dialogue within one cell of MathDial."""

_TEXT = (
    "text", "content", "utterance", "sentence", "question", "problem", "turn_text", "message",
    "题目", "问题", "题干", "文本", "内容", "发言", "话语",
)  # fmt: skip
_SPEAKER = ("speaker", "role", "speaker_name", "说话人", "说话者", "发言人", "角色")
_DIALOGUE = (
    "dialogue", "dialogue_id", "dialog_id", "session_id", "conversation_id", "transcript_id",
    "obsid", "对话", "对话编号", "课堂",
)  # fmt: skip
_LABEL = ("label", "class", "human_label", "gold", "gold_label", "标签", "类别")
_ORDER = ("sequence_id", "turn", "turn_id", "order", "序号")


class ColumnMapping(NamedTuple):
    """Which column is what; None where there is no such column."""

    kind: Kind
    text: str
    speaker: str | None = None
    dialogue: str | None = None
    order: str | None = None
    label: str | None = None
    layout: Layout | None = None
    is_guess: bool = False
    """The text is the longest column, and no name told so."""


class _Known(NamedTuple):
    """A layout: the columns it has, in lower case, and which of them is what."""

    layout: Layout
    columns: frozenset[str]
    roles: Mapping[str, str]
    kind: Kind = "turns"


_LAYOUTS = (
    _Known(
        "talkmoves",
        frozenset({"speaker", "sentence", "teacher tag", "student tag"}),
        {"text": "sentence", "speaker": "speaker", "order": "turn"},
    ),
    _Known(
        "sandpiper",
        frozenset({"session_id", "role", "content", "sequence_id"}),
        {"text": "content", "speaker": "role", "dialogue": "session_id", "order": "sequence_id"},
    ),
    _Known(
        "amber",
        frozenset({"speaker", "dialogue", "start", "stop"}),
        {"text": "dialogue", "speaker": "speaker"},
    ),
    _Known(
        "pmtd",
        frozenset({"id", "dialog_content", "dialog_history"}),
        {"text": "dialog_content", "label": "class"},
    ),
    _Known(
        "tmwpl", frozenset({"id", "question", "class"}), {"text": "question", "label": "class"},
        kind="problems",
    ),
)  # fmt: skip


def recognise_layout(columns: Sequence[str], sample: Sequence[Sequence[Any]]) -> ColumnMapping:
    """Say which column is what.

    `sample` holds some rows, their cells in the order of the columns; it need not hold all. A
    column is named as it is in `columns`.
    """
    names: dict[str, str] = {}
    for name in columns:
        names.setdefault(name.strip().lower(), name)
    for known in _LAYOUTS:
        if known.columns <= names.keys():
            roles: dict[str, Any] = {
                role: names[name] for role, name in known.roles.items() if name in names
            }
            return ColumnMapping(kind=known.kind, layout=known.layout, **roles)
    for place, name in enumerate(columns):
        if any(END_OF_TURN in (spell(cells[place]) or "") for cells in sample):
            return ColumnMapping("turns", name, dialogue=_find(names, ("qid", *_DIALOGUE)),
                            layout="mathdial")  # fmt: skip
    return _guess(columns, names, sample)


def _guess(
    columns: Sequence[str], names: Mapping[str, str], sample: Sequence[Sequence[Any]]
) -> ColumnMapping:
    text = _find(names, _TEXT)
    speaker = _find(names, _SPEAKER)
    dialogue = _find(names, _DIALOGUE)
    if text is None and speaker is not None and "dialogue" in names:
        text, dialogue = names["dialogue"], None
    taken = {speaker, dialogue, _find(names, _LABEL)}
    is_guess = text is None
    if text is None:
        text = _find_longest(columns, sample, taken)
    place = columns.index(speaker) if speaker else -1
    said = {(spell(cells[place]) or "").casefold() for cells in sample} if speaker else set()
    is_ncte = "multiple students" in said and names.keys() >= {"speaker", "text"}
    return ColumnMapping(
        kind="turns" if speaker else "problems",
        text=text,
        speaker=speaker,
        dialogue=dialogue if speaker else None,
        order=_find(names, _ORDER) if speaker else None,
        label=_find(names, _LABEL),
        layout="ncte" if is_ncte else None,
        is_guess=is_guess,
    )


def _find(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[each] for each in wanted if each in names), None)


def _find_longest(
    columns: Sequence[str], sample: Sequence[Sequence[Any]], taken: set[str | None]
) -> str:
    """The column with the longest texts; the first where there are no rows."""
    lengths = [
        -1 if name in taken else sum(len(spell(cells[place]) or "") for cells in sample)
        for place, name in enumerate(columns)
    ]
    return columns[lengths.index(max(lengths))] if columns else ""
