"""Items that belong together: dialogue turns that share a turn, problems that are near-duplicates.

Folds keep such groups whole: a model that saw the neighbours of an item has seen a part of it.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

from contract.inputs import AnyInput, DialogueTurn
from training.data.examples import Example
from training.data.recurrence import normalize_text
from training.statistics.probabilities import Ints

SHARED_CHARACTERS = 8
"""From so many characters on a turn that two items share joins them: "对。" and the like recur in
every dialogue."""
NEAR_DUPLICATE = 0.6
"""Jaccard similarity of 4-grams, numbers masked, from which on two problems are one group."""
_GRAM = 4
_ROWS_AT_ONCE = 512


def group_examples(examples: Sequence[Example]) -> Ints:
    """Number of the group of each example, shape (n,); an example alone is a group too.

    Groups are the connected components of what is joined: turns whose target or context has a
    turn of `SHARED_CHARACTERS` in common, problems whose texts are alike but for their numbers.
    Examples of different tasks are never joined.
    """
    first, second = [], []
    for task in dict.fromkeys(example.task for example in examples):
        places = np.array([i for i, each in enumerate(examples) if each.task == task])
        items = [examples[i].item for i in places]
        for one, other in _join_equal([set(_list_keys(item)) for item in items]):
            first.append(places[one])
            second.append(places[other])
        problems = np.array([not isinstance(item, DialogueTurn) for item in items])
        texts = [mask_numbers(items[i].text) for i in np.flatnonzero(problems)]
        for one, other in join_similar(texts):
            first.append(places[problems][one])
            second.append(places[problems][other])
    links = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(examples),) * 2)
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def mask_numbers(text: str) -> str:
    """In Unicode's compatibility form, without blanks, every number a 0."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"\d+(\.\d+)?", "0", re.sub(r"\s+", "", folded))


def _list_keys(item: AnyInput) -> Iterator[str]:
    """What an item shares with others of its group, to the letter."""
    if not isinstance(item, DialogueTurn):
        yield mask_numbers(item.text)
        return
    for turn in (*item.previous, item, *item.following):
        if len(turn.text) >= SHARED_CHARACTERS:
            yield normalize_text(turn.text)


def _join_equal(keys: Sequence[set[str]]) -> Iterator[tuple[int, int]]:
    """Each item with the first that has a key of it."""
    owners: dict[str, int] = {}
    for place, own in enumerate(keys):
        for key in own:
            yield owners.setdefault(key, place), place


def join_similar(texts: Sequence[str], least: float = NEAR_DUPLICATE) -> Iterator[tuple[int, int]]:
    """Places of different texts, numbers masked, whose n-grams have at least this similarity
    (Jaccard); of texts that are equal the first stands for all."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[text].append(place)
    if len(places) < 2:
        return
    different, firsts = list(places), [own[0] for own in places.values()]
    grams = CountVectorizer(analyzer=_split_grams, binary=True, dtype=np.int32)
    index = grams.fit_transform(different).tocsr()
    sizes = np.asarray(index.sum(axis=1)).ravel()
    for start in range(0, len(different), _ROWS_AT_ONCE):
        shared = (index[start : start + _ROWS_AT_ONCE] @ index.T).tocoo()
        rows = shared.row + start
        similarity = shared.data / (sizes[rows] + sizes[shared.col] - shared.data)
        alike = (similarity >= least) & (rows < shared.col)
        for one, other in zip(rows[alike], shared.col[alike], strict=True):
            yield firsts[one], firsts[other]


def _split_grams(text: str) -> list[str]:
    """A text shorter than a gram is one itself."""
    return [text[i : i + _GRAM] for i in range(max(1, len(text) - _GRAM + 1))]
