"""Each call of the service as a flow: what is sent, and what the answer means."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ncal_client.address import Address, Target
from ncal_client.batches import Encoded, blames_items, encode, may_pass
from ncal_client.errors import Forbidden, NcalError, ServiceError
from ncal_client.flows import Ask, Flow, ask_bytes, ask_json, pause
from ncal_client.forms.answers import (
    Answer,
    Batch,
    DialogueAnswer,
    FileRows,
    Result,
    read_answer,
    read_batch,
    read_dialogue,
    read_file_rows,
)
from ncal_client.forms.catalogue import (
    LabelSet,
    Limits,
    Model,
    read_labels,
    read_limits,
    read_models,
)
from ncal_client.forms.items import Item, Turn, describe_turn, encode_item, find_kind, find_path
from ncal_client.forms.options import Options, Timing, make_query, pick_timing
from ncal_client.waiting import Budget

_JSON = {"content-type": "application/json"}
_LIVE_PATH = "/classify/dialogue/live"


class StreamCall(NamedTuple):
    """Where the items of a stream go, and how long is waited for it."""

    target: Target
    budget: Budget


class Calls:
    """The calls of one service."""

    def __init__(self, address: Address, timing: Timing) -> None:
        self.address = address
        self._timing = timing
        self._limits: Limits | None = None

    def make_budget(self, timing: Timing) -> Budget:
        """How long a call may take, by its own options or else by those of the client."""
        both = self._timing | timing
        return Budget(patience_s=both["patience_s"], deadline_s=both["deadline_s"])

    def list_labels(self, timing: Timing) -> Flow[tuple[LabelSet, ...]]:
        ask = Ask(method="GET", path="/labels")
        return ask_json(ask, read_labels, self.make_budget(timing), self.address.url)

    def list_models(self, timing: Timing) -> Flow[tuple[Model, ...]]:
        def read(content: Any) -> tuple[Model, ...]:
            self._limits = read_limits(content)
            return read_models(content)

        ask = Ask(method="GET", path="/models")
        return ask_json(ask, read, self.make_budget(timing), self.address.url)

    def find_limits(self, timing: Timing) -> Flow[Limits]:
        """What one request may hold; asked for once."""
        if self._limits is None:
            try:
                yield from self.list_models(timing)
            except Forbidden:  # a key that may only classify
                self._limits = Limits()
        assert self._limits is not None
        return self._limits

    def classify(self, item: Item, task: str | None, options: Options) -> Flow[Answer]:
        path = find_path(find_kind(item), task)
        return self._post(path, encode_item(item), read_answer, options)

    def classify_batch(
        self, items: Sequence[Item], task: str | None, options: Options
    ) -> Flow[Batch]:
        encoded = [encode(item) for item in items]
        path = find_path(encoded[0].kind if encoded else "problem", task)
        return self._post(f"{path}/batch", _join(encoded), read_batch, options)

    def classify_dialogue(
        self, turns: Iterable[Turn], mode: str, task: str | None, options: Options
    ) -> Flow[DialogueAnswer]:
        body = {"turns": [describe_turn(turn) for turn in turns], "mode": mode}
        more = {} if task is None else {"task": task}
        content = json.dumps(body).encode()
        return self._post("/classify/dialogue", content, read_dialogue, options, more)

    def classify_part(
        self, path: str, items: Sequence[Encoded], options: Options
    ) -> Flow[list[Result]]:
        """Classify the items of one batch of many; each has a result, whatever the others are.

        Those that fail for a reason that passes are asked again, the others are not.
        """
        budget = self.make_budget(pick_timing(options))
        results = yield from self._classify_all(path, items, options, budget)
        while waiting := [place for place, each in enumerate(results) if may_pass(each.error)]:
            error = results[waiting[0]].error
            assert error is not None
            try:
                yield from pause(error, budget)
            except NcalError:
                break  # it stays the result
            again = [items[place] for place in waiting]
            found = yield from self._classify_all(path, again, options, budget)
            for place, result in zip(waiting, found, strict=True):
                results[place] = result
        return results

    def read_file(self, path: Path, sheet: str | None, timing: Timing) -> Flow[FileRows]:
        ask = Ask(
            path="/files/read",
            files={"file": (path.name, path.read_bytes())},
            fields={} if sheet is None else {"sheet": sheet},
        )
        return ask_json(ask, read_file_rows, self.make_budget(timing), self.address.url)

    def write_file(
        self,
        path: Path,
        columns: Mapping[str, Sequence[Any]],
        format: str,
        sheet: str | None,
        timing: Timing,
    ) -> Flow[bytes]:
        added = {
            "names": list(columns),
            "rows": [list(row) for row in zip(*columns.values(), strict=True)],
        }
        fields = {"format": format, "columns": json.dumps(added)}
        ask = Ask(
            path="/files/write",
            files={"file": (path.name, path.read_bytes())},
            fields=fields if sheet is None else {**fields, "sheet": sheet},
        )
        return ask_bytes(ask, self.make_budget(timing))

    def open_stream(self, task: str, options: Options) -> StreamCall:
        """Where a stream of items goes. `deadline_s` is that of each item."""
        headers: dict[str, str] = {}
        timing: Timing = {"deadline_s": None}
        if "patience_s" in options:
            timing["patience_s"] = options["patience_s"]
        deadline_s = options.get("deadline_s", self._timing["deadline_s"])
        if deadline_s is not None:
            headers["x-request-timeout"] = f"{deadline_s:g}"
        path = f"{find_path('problem', task)}/stream"
        target = self.address.make_target(path, make_query(options), headers)
        return StreamCall(target, self.make_budget(timing))

    def open_live(self, task: str | None, options: Options) -> Target:
        more = {} if task is None else {"task": task}
        return self.address.make_live_target(_LIVE_PATH, make_query(options) | more)

    def _classify_all(
        self, path: str, items: Sequence[Encoded], options: Options, budget: Budget
    ) -> Flow[list[Result]]:
        """By halves where a request is refused for what is in it: so one item costs no other its
        answer."""
        ask = _make_post(f"{path}/batch", _join(items), make_query(options))
        try:
            batch = yield from ask_json(ask, read_batch, budget, self.address.url)
        except ServiceError as error:
            if not blames_items(error):
                raise
            if len(items) == 1:
                return [Result(0, items[0].id, None, error)]
            middle = len(items) // 2
            first = yield from self._classify_all(path, items[:middle], options, budget)
            second = yield from self._classify_all(path, items[middle:], options, budget)
            return first + second
        return list(batch.results)

    def _post(
        self,
        path: str,
        content: bytes,
        read: Any,
        options: Options,
        more: Mapping[str, str] | None = None,
    ) -> Flow[Any]:
        ask = _make_post(path, content, make_query(options) | dict(more or {}))
        return ask_json(ask, read, self.make_budget(pick_timing(options)), self.address.url)


def _make_post(path: str, content: bytes, query: Mapping[str, str]) -> Ask:
    return Ask(path=path, query=query, content=content, headers=_JSON)


def _join(items: Sequence[Encoded]) -> bytes:
    return b'{"items":[' + b",".join(item.content for item in items) + b"]}"
