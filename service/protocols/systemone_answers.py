"""What a question of System One asks of a task of ours, and its answer from probabilities. Pure.

A fixed taxonomy answers: a `choice` between ids of labels or between groups of one task, all or
some of them (then given that it is one of them); a `noul` about one label or group; a `score`
over ids or groups in the order of the label set.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contract.labels import Label, LabelSet
from service.protocols.systemone_forms import (
    ChoiceQuestion,
    Content,
    NoulCriteria,
    NoulQuestion,
    ScoreQuestion,
)

_MOST_CHARACTERS = 20_000
"""That names are looked for in: each takes as long as a microsecond."""

AnyQuestion = NoulQuestion | ChoiceQuestion | ScoreQuestion


class Unanswerable(Exception):
    """This label set cannot answer the question; the message is the rule that it breaks."""


class Reading(NamedTuple):
    """A question as one label set understands it: sets of labels, by option."""

    question: AnyQuestion
    options: tuple[str, ...]
    members: tuple[frozenset[int], ...]
    """By option: indices of the labels that it stands for."""


def read_question(labels: LabelSet, question: AnyQuestion) -> Reading:
    """Return what the question asks of these labels; Unanswerable with the reason."""
    if isinstance(question, NoulQuestion):
        name = _find_named(labels, question)
        return Reading(question, (name,), (_find_members(labels, name),))
    if isinstance(question, ChoiceQuestion):
        options = tuple(question.criteria)
        return Reading(question, options, _find_all_members(labels, options))
    options = tuple(_read_level(level) for level in question.criteria)
    members = _find_all_members(labels, options)
    places = [labels.order.index(option) for option in options if option in labels.order]
    if len(places) < len(options) or sorted(places) not in (places, places[::-1]):
        raise Unanswerable("a score needs levels in the order of the labels, and these have none")
    return Reading(question, options, members)


def answer_question(reading: Reading, probabilities: Sequence[float]) -> dict[str, Any]:
    """Return the answer as JSON-ready data; `probabilities` are in label order."""
    shares = [sum(probabilities[index] for index in each) for each in reading.members]
    if isinstance(reading.question, NoulQuestion):
        return {"type": "noul", "noul": min(1.0, shares[0])}
    total = sum(shares)
    even = 1.0 / len(shares)
    given = [share / total for share in shares] if total > 0.0 else [even] * len(shares)
    best = max(range(len(given)), key=given.__getitem__)
    confidence = min(1.0, max(0.0, (given[best] - even) / (1.0 - even)))
    if isinstance(reading.question, ChoiceQuestion):
        return {
            "type": "choice",
            "choice": reading.options[best],
            "confidence": confidence,
            "probabilities": dict(zip(reading.options, given, strict=True)),
        }
    return {
        "type": "score",
        "score": sum(level * share for level, share in enumerate(given)),
        "confidence": confidence,
        "legend": {str(level): text for level, text in enumerate(reading.question.criteria)},
        "probabilities": {str(level): share for level, share in enumerate(given)},
    }


def _find_all_members(labels: LabelSet, options: Sequence[str]) -> tuple[frozenset[int], ...]:
    """Options are all ids of labels, or all groups: mixed, one would hold the other."""
    groups = {label.group for label in labels.labels}
    if len(set(options)) < len(options):
        raise Unanswerable("an option is given twice")
    if set(options) <= set(labels.ids) or set(options) <= groups:
        return tuple(_find_members(labels, option) for option in options)
    raise Unanswerable("the criteria are neither ids of its labels nor its groups")


def _find_members(labels: LabelSet, name: str) -> frozenset[int]:
    """The label of that id, or else the labels of that group."""
    if name in labels.ids:
        return frozenset({labels.ids.index(name)})
    return frozenset(index for index, each in enumerate(labels.labels) if each.group == name)


def _read_level(level: Content) -> str:
    if not isinstance(level, str):
        raise Unanswerable("a level of a score is the id of a label, or a group")
    return level


def _find_named(labels: LabelSet, question: NoulQuestion) -> str:
    """Return the id or group that a yes-or-no question is about.

    Looked for first in `criteria.true` (or `criteria`), then in `instructions`: an id, an
    English or Chinese name, or a group, as whole words, capitals and a plural's `s` apart. Where
    one name lies inside another the longer counts. Exactly one must be named.
    """
    criteria = question.criteria
    stated = criteria.true if isinstance(criteria, NoulCriteria) else criteria
    for text in (stated, question.instructions):
        if isinstance(text, str) and len(text) > _MOST_CHARACTERS:
            raise Unanswerable(f"what is asked has more than {_MOST_CHARACTERS} characters")
        found = _find_names(labels, text) if isinstance(text, str) else set()
        if len(found) == 1:
            return found.pop()
        if found:
            raise Unanswerable("a yes-or-no question names one label or group, and this several")
    raise Unanswerable("a yes-or-no question names a label or a group, and this none of these")


def _find_names(labels: LabelSet, text: str) -> set[str]:
    names = _list_names(labels.labels)
    pattern = "|".join(_to_pattern(name) for name in sorted(names, key=len, reverse=True))
    lowered = text.casefold()
    return {names[_normalize(match[0])] for match in re.finditer(pattern, lowered)}


def _list_names(labels: Iterable[Label]) -> Mapping[str, str]:
    """Map each normalized name to the id or group that it stands for; ids win."""
    names: dict[str, str] = {}
    for label in labels:
        for name in (label.id, label.name_en, label.name_zh):
            names.setdefault(_normalize(name), label.id)
    for label in labels:
        names.setdefault(_normalize(label.group), label.group)
    return names


def _normalize(name: str) -> str:
    folded = name.casefold()
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") else folded


def _to_pattern(name: str) -> str:
    """Whole words, where the name is written in letters that are parted by spaces."""
    if not name.isascii():
        return re.escape(name)
    return rf"(?<![\w-]){re.escape(name)}s?(?![\w-])"
