"""Behavioural tests in the manner of CheckList (Ribeiro et al., ACL 2020), as they are written.

`training/written/behaviour/*.jsonl` has a test a line, of one of three kinds:
`functionality`, a plain item and its label; `invariance`, an item and variants of its text that
must get one and the same label; `direction`, an item and a changed text that must get the label.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contract.inputs import AnyInput, DialogueTurn, Problem
from training.errors import BadInput

WRITTEN = Path(__file__).resolve().parents[1] / "written" / "behaviour"
_ASCII = "0123456789+-=:,?()"
_WIDE = {ord(each): ord(each) + 0xFEE0 for each in _ASCII}
_NARROW = {wide: narrow for narrow, wide in _WIDE.items()}
_END = "。？?！!.…"


class _Test(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    input: DialogueTurn | Problem


class Functionality(_Test):
    """A plain item, as everyday people word it."""

    test: Literal["functionality"]
    label: str


class Invariance(_Test):
    """An item whose label must not change with these words."""

    test: Literal["invariance"]
    kind: str
    variants: list[str] = Field(min_length=1)


class Direction(_Test):
    """An item that must get the label once its text is changed so."""

    test: Literal["direction"]
    label: str
    changed: str


AnyTest = Annotated[Functionality | Invariance | Direction, Field(discriminator="test")]


class Pair(NamedTuple):
    """Two items that must get one and the same label, and what differs."""

    kind: str
    one: AnyInput
    other: AnyInput


def read_tests(paths: list[Path] | None = None) -> list[Functionality | Invariance | Direction]:
    """The written tests; BadInput names file and line of what is none."""
    adapter: TypeAdapter[Any] = TypeAdapter(AnyTest)
    tests = []
    for path in paths or sorted(WRITTEN.glob("*.jsonl")):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path}: cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                tests.append(adapter.validate_json(line))
            except ValidationError as error:
                raise BadInput(f"{path}:{number}: is no behavioural test: {error}") from error
    if not tests:
        raise BadInput(f"{WRITTEN}: holds no behavioural test")
    return tests


def change_text(item: AnyInput, text: str) -> AnyInput:
    return item.model_copy(update={"text": text})


def list_pairs(tests: list[Functionality | Invariance | Direction]) -> list[Pair]:
    """Written variants, and every plain item in other forms that say the same."""
    pairs = []
    for test in tests:
        if isinstance(test, Invariance):
            pairs += [
                Pair(test.kind, test.input, change_text(test.input, each)) for each in test.variants
            ]
        elif isinstance(test, Functionality):
            pairs += [
                Pair(kind, test.input, change_text(test.input, text))
                for kind, text in _list_forms(test.input)
            ]
    return pairs


def _list_forms(item: AnyInput) -> list[tuple[str, str]]:
    """Other ways to write an item down, by kind; only those that differ from it."""
    text = item.text
    if isinstance(item, DialogueTurn):
        name = {"teacher": "老师", "student": "学生"}[item.speaker]
        prefix = f"{name}：{text}"
    else:
        prefix = f"题目：{text}"
    ending = text[:-1] if text[-1] in _END else text + "。"
    spaced = re.sub(r"(?<=[一-龥])(?=[0-9A-Za-z])|(?<=[0-9A-Za-z])(?=[一-龥])", " ", text)
    forms = [
        ("full width", text.translate(_WIDE)),
        ("half width", text.translate(_NARROW)),
        ("end", ending),
        ("blanks", spaced),
        ("prefix", prefix),
    ]
    return [(kind, form) for kind, form in forms if form != text and form.strip()]
