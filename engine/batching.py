"""Which of the waiting items the next step computes: pure, and for any runtime.

A step is a rectangle, items × longest item, and costs what it covers. So items of like
length go together. Urgency comes first all the same: the step is built around its *head*,
the most urgent item, and nobody is passed over more than `MAX_PASSES` times.
"""

from collections.abc import Sequence
from typing import Protocol

from contract.prompts import Prompt

MAX_PASSES = 8
"""An item that so many steps have left out is the next step's head, whatever its priority."""
_MAX_PADDING = 0.2
"""Largest share of a step that may be padding, once the step is not small."""
_SMALL_STEP = 128
"""Tokens, padding included, below which a step costs about the same whatever it holds."""


class Waiting(Protocol):
    """What a choice needs to know of an item; the sequence it stands in is that of arrival."""

    @property
    def tokens(self) -> int: ...

    @property
    def priority(self) -> int: ...

    @property
    def passes(self) -> int:
        """Steps that have left it out."""
        ...


def choose_step(items: Sequence[Waiting], *, max_tokens: int, max_items: int) -> list[int]:
    """Return the indices of the items of the next step, the head first.

    `items` must not be empty. The step covers at most `max_tokens`, padding included; a head
    that is longer than that is computed alone.
    """
    head = min(range(len(items)), key=lambda index: _urgency(items[index], index))
    centre = items[head].tokens
    others = [index for index in range(len(items)) if index != head]
    # Stable: of items that fit equally well the one that came first goes first.
    others.sort(key=lambda index: (items[index].priority, abs(items[index].tokens - centre)))
    step, longest, filled = [head], centre, centre
    for index in others:
        tokens = items[index].tokens
        if len(step) == max_items:
            break
        if _fits(max(longest, tokens), len(step) + 1, filled + tokens, max_tokens):
            step.append(index)
            longest, filled = max(longest, tokens), filled + tokens
    return step


def order_by_length(prompts: Sequence[Prompt]) -> list[int]:
    """Return the indices of the prompts, the longest first: who comes one after the other shares
    a step of the engine, and a step costs what its longest item costs, times its items."""
    return sorted(range(len(prompts)), key=lambda index: -len(prompts[index].token_ids))


def _urgency(item: Waiting, arrival: int) -> tuple[bool, int, int]:
    return (item.passes < MAX_PASSES, item.priority, arrival)


def _fits(longest: int, count: int, filled: int, max_tokens: int) -> bool:
    covered = longest * count
    if covered > max_tokens:
        return False
    return covered <= _SMALL_STEP or covered - filled <= _MAX_PADDING * covered
