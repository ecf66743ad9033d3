"""Rows that are alike, or nearly, and have different labels: one of them must be wrong, or the
classes overlap."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contract.inputs import AnyInput, DialogueTurn
from training.data.examples import UNLABELLED, Example
from training.data.groups import SHARED_CHARACTERS, join_similar, mask_numbers

LIKENESSES = ("the same text", "the same text but for numbers", "nearly the same text")
"""From the strongest to the weakest."""
NEARLY = 0.8
"""Jaccard similarity of 4-grams, numbers masked, of texts that are nearly the same: stricter than
what keeps folds apart (`training.data.groups`), where joining too much costs nothing."""


class Twin(NamedTuple):
    """Why rows alike speak against the label of a row."""

    likeness: int
    """Place in `LIKENESSES`."""
    others: tuple[int, ...]
    """Places of the rows alike that have another label."""
    suggested: int
    """The label that most of them have."""


def find_twins(examples: Sequence[Example]) -> dict[int, Twin]:
    """Place → the strongest contradiction, for each row whose label rows alike do not share.

    A row whose label most of those alike have is not doubted, the others are; where no label
    prevails, all are. Examples are of one task. Turns are alike that have speaker, text and the
    turn before in common; numbers and nearness are not looked at, for in a dialogue they decide.
    """
    found: dict[int, Twin] = {}
    for likeness, sets in enumerate(_list_sets(examples)):
        for members in sets:
            labels = Counter(examples[place].label for place in members)
            most = max(labels.values())
            for place in members:
                own = examples[place].label
                prevails = labels[own] == most and list(labels.values()).count(most) == 1
                if len(labels) > 1 and not prevails and place not in found:
                    found[place] = _explain(likeness, place, members, examples)
    return found


def _explain(
    likeness: int, place: int, members: Sequence[int], examples: Sequence[Example]
) -> Twin:
    own = examples[place].label
    others = tuple(each for each in members if examples[each].label != own)
    suggested = Counter(examples[each].label for each in others).most_common(1)[0][0]
    return Twin(likeness, others, suggested)


def _list_sets(examples: Sequence[Example]) -> Iterator[list[list[int]]]:
    """For each likeness the sets of places that are alike."""
    labelled = [place for place, each in enumerate(examples) if each.label != UNLABELLED]
    exact: defaultdict[object, list[int]] = defaultdict(list)
    masked: defaultdict[str, list[int]] = defaultdict(list)
    for place in labelled:
        item = examples[place].item
        if (key := _find_key(item)) is not None:
            exact[key].append(place)
        if not isinstance(item, DialogueTurn):
            masked[mask_numbers(item.text)].append(place)
    yield list(exact.values())
    yield list(masked.values())
    texts = list(masked)
    yield [
        [*masked[texts[one]], *masked[texts[other]]] for one, other in join_similar(texts, NEARLY)
    ]


def _find_key(item: AnyInput) -> object | None:
    """What rows of the same text share; None for a turn that tells too little to compare."""
    if not isinstance(item, DialogueTurn):
        return _fold(item.text)
    text, before = _fold(item.text), _fold(item.previous[-1].text) if item.previous else ""
    return (item.speaker, text, before) if len(text + before) >= SHARED_CHARACTERS else None


def _fold(text: str) -> str:
    """Signs stay, for `3+5` is not `3×5`; blanks and full-width forms do not count."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text).lower())
