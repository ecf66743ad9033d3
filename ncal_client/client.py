"""The client for blocking programs."""

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from threading import Event
from typing import Any, Self, TypeVar, Unpack

import httpx2

from ncal_client.address import Address
from ncal_client.batches import part_items, renumber
from ncal_client.calls import Calls
from ncal_client.errors import Unreachable
from ncal_client.exchange import build_request, explain, to_response
from ncal_client.flows import Exchange, Flow, Pause, Reply
from ncal_client.forms.answers import Answer, Batch, DialogueAnswer, FileRows, Result
from ncal_client.forms.catalogue import LabelSet, Model
from ncal_client.forms.items import DialogueTurn, Item, Mode, Problem, Speaker, Turn, find_path
from ncal_client.forms.options import Options, Timing, check_many, pick_timing
from ncal_client.sessions.live import LiveDialogue
from ncal_client.sessions.streams import BlockingStream

T = TypeVar("T")


class Client:
    """A service at an address. Every method may be called from several threads.

    All take `patience_s` and `deadline_s` as options; what classifies takes those of
    `ncal_client.forms.options.Options`. All raise `NcalError`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        patience_s: float = 60.0,
        deadline_s: float | None = None,
        context: ssl.SSLContext | None = None,
        stopped: Event | None = None,
    ) -> None:
        """`patience_s`: from the begin of a call, how long a request that may succeed later is
        sent again. `deadline_s`: after which a call fails, whatever is left. `context`: for a
        service with a certificate of its own. `stopped`: when it is set, nothing waits for the
        service any more. ValueError for what is no address."""
        address = Address(url, key, context)
        self._calls = Calls(address, {"patience_s": patience_s, "deadline_s": deadline_s})
        self._http = httpx2.Client(
            base_url=address.url,
            headers=address.headers,
            trust_env=address.uses_proxy,
            verify=address.context or False,
        )
        self._stopped = stopped or Event()

    def classify_problem(
        self, problem: str | Problem, *, task: str | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Classify a problem; `task` where it is not the built-in one."""
        return self._run(self._calls.classify(problem, task, options))

    def classify_turn(
        self,
        speaker: Speaker,
        text: str,
        *,
        previous: Sequence[Turn] = (),
        following: Sequence[Turn] = (),
        task: str | None = None,
        **options: Unpack[Options],
    ) -> Answer:
        """Classify a turn of a dialogue, with what was said around it."""
        turn = DialogueTurn(speaker, text, previous, following)
        return self._run(self._calls.classify(turn, task, options))

    def classify_batch(
        self, items: Sequence[Item], *, task: str | None = None, **options: Unpack[Options]
    ) -> Batch:
        """Classify items of one kind in one request, which the service may find too large."""
        return self._run(self._calls.classify_batch(items, task, options))

    def classify_many(
        self, items: Iterable[Item], *, task: str | None = None, **options: Unpack[Options]
    ) -> Iterator[Result]:
        """Yield a result for each item of one kind, in order, by batches that the service takes.

        An item that fails costs no other its answer. `prior="estimate"` needs all items in one
        batch, and is refused here: see `classify_batch`.
        """
        check_many(options)
        first = 0
        limits = self._run(self._calls.find_limits(pick_timing(options)))
        for part in part_items(items, limits):
            path = find_path(part[0].kind, task)
            results = self._run(self._calls.classify_part(path, part, options))
            yield from renumber(results, first)
            first += len(part)

    def stream(
        self, items: Iterable[Item], *, task: str = "timss", **options: Unpack[Options]
    ) -> Iterator[Result]:
        """Yield a result for each item, in order, as soon as it is there, in flat memory.

        Items are taken by another thread, as fast as results are. `deadline_s` is that of each
        item. A lost connection is made again while patience lasts; that begins anew with each
        answer.
        """
        check_many(options)
        call = self._calls.open_stream(task, options)
        yield from BlockingStream(call.target, items, call.budget).run(self._stopped.wait)

    def classify_dialogue(
        self,
        turns: Iterable[Turn],
        *,
        mode: Mode = "retrospective",
        task: str | None = None,
        **options: Unpack[Options],
    ) -> DialogueAnswer:
        """Label every turn of a dialogue, and describe it as a whole."""
        return self._run(self._calls.classify_dialogue(turns, mode, task, options))

    def open_live(self, *, task: str | None = None, **options: Unpack[Options]) -> LiveDialogue:
        """A dialogue that is labelled as it is spoken; enter what is returned."""
        target = self._calls.open_live(task, options)
        return LiveDialogue(target, lambda: self._calls.make_budget(options), self._stopped.wait)

    def list_labels(self, **timing: Unpack[Timing]) -> tuple[LabelSet, ...]:
        """The labels of all tasks, with names and definitions."""
        return self._run(self._calls.list_labels(timing))

    def list_models(self, **timing: Unpack[Timing]) -> tuple[Model, ...]:
        """The loaded checkpoints and their tasks."""
        return self._run(self._calls.list_models(timing))

    def read_file(
        self, path: str | PathLike[str], *, sheet: str | None = None, **timing: Unpack[Timing]
    ) -> FileRows:
        """A table or transcript as rows, and which column is what."""
        return self._run(self._calls.read_file(Path(path), sheet, timing))

    def write_file(
        self,
        path: str | PathLike[str],
        columns: Mapping[str, Sequence[Any]],
        format: str,
        *,
        sheet: str | None = None,
        **timing: Unpack[Timing],
    ) -> bytes:
        """The file with columns (name to cells) beside its rows, in a format that is named."""
        return self._run(self._calls.write_file(Path(path), columns, format, sheet, timing))

    def stop(self) -> None:
        """Let all that waits for the service fail now; from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        reply: Reply = None
        try:
            while True:
                reply = self._take(flow.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    def _take(self, step: Exchange | Pause) -> Reply:
        if isinstance(step, Pause):
            is_stopped = self._stopped.wait(step.seconds)
            return Unreachable("the client was stopped") if is_stopped else None
        try:
            return to_response(self._http.send(build_request(self._http, step)))
        except httpx2.RequestError as error:
            return explain(error, self._calls.address.url)
