"""Many items as batches that a service takes."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from ncal_client.errors import ServiceError
from ncal_client.forms.answers import Result
from ncal_client.forms.catalogue import Limits
from ncal_client.forms.items import Item, ItemId, Kind, encode_item, find_kind

_MOST_ITEMS = 512
"""Of a batch, whatever a service takes: some seconds of work, so that a lost connection loses
little."""
_ENVELOPE = 64
"""Bytes, and values, of what stands around the items."""
_BLAMES_ITEMS = frozenset({400, 413, 422})
"""Statuses that the items of a request can be to blame for."""


class Encoded(NamedTuple):
    """An item as it is sent."""

    content: bytes
    kind: Kind
    id: ItemId | None


def encode(item: Item) -> Encoded:
    """Return an item as it is sent."""
    identifier = item.get("id") if isinstance(item, Mapping) else getattr(item, "id", None)
    return Encoded(encode_item(item), find_kind(item), identifier)


def part_items(items: Iterable[Item], limits: Limits) -> Generator[list[Encoded], None, None]:
    """Yield the items in batches that a service with these limits takes."""
    part: list[Encoded] = []
    size = values = 0
    most = min(_MOST_ITEMS, limits.max_batch_items)
    for item in items:
        encoded = encode(item)
        more, more_values = len(encoded.content) + 1, _count_values(encoded.content)
        if part and (
            len(part) == most
            or size + more > limits.max_body_bytes - _ENVELOPE
            or values + more_values > limits.max_body_values - _ENVELOPE
        ):
            yield part
            part, size, values = [], 0, 0
        part.append(encoded)
        size, values = size + more, values + more_values
    if part:
        yield part


def renumber(results: Iterable[Result], first: int) -> list[Result]:
    """Return the results with indices that count on from `first`."""
    return [replace(result, index=first + place) for place, result in enumerate(results)]


def may_pass(error: ServiceError | None) -> bool:
    """Whether an item that failed so may succeed later."""
    # 500: the engine fails on this very item, and must not hold up the rest for ever.
    return error is not None and error.is_passing and error.status != 500


def blames_items(error: ServiceError) -> bool:
    """Whether a batch is refused for what is in it, and not for how it is asked."""
    if error.status not in _BLAMES_ITEMS:
        return False
    fields = [each.field for each in error.reasons]
    return not fields or any(name.startswith(("body", "items")) for name in fields)


def _count_values(content: bytes) -> int:
    """So many names and values at most: punctuation within texts is counted too."""
    return max(len(content) - len(content.translate(None, b",:[{")), content.count(b'"') // 2 + 1)
