"""Overload is answered before anything else is done for a request.

At several times what the engine can do most requests are refused, on the very cores that
the engine computes on. The ordinary way to a refusal, a task through every layer and a line
in the log, takes so much of them that a sixth fewer items are answered. Here a refusal is
bytes, made when the head of a request has come. Only what the ordinary way would refuse in
the same words is refused; whatever asks for more than a label goes that way.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from random import getrandbits
from typing import NamedTuple, Self

from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.access.identification import Identification
from service.admission.admission import Admission
from service.admission.fair_queue import Priority
from service.errors import Overloaded, ServiceError
from service.http.security_headers import API_HEADERS
from service.observability.logs import log
from service.observability.metrics import Metrics
from service.observability.telemetry import make_error_response, read_trace
from service.readiness import Readiness
from service.tasks import TASK_ROUTE, find_path, name_endpoint

_UNUSUAL = frozenset((b"expect", b"origin", b"x-request-timeout"))
_TRACED = frozenset((b"x-request-id", b"traceparent"))
_LOG_INTERVAL_S = 1.0
_CLIENTS_LOGGED = 5


class _Refusal(NamedTuple):
    """An answer but for what tells the request: its id, in headers and body."""

    head: bytes
    body: tuple[bytes, bytes]
    """What comes before the id, and what comes after it."""

    @classmethod
    def make(cls, error: Overloaded) -> Self:
        mark = "request id"
        headers, body = make_error_response(error, mark)
        lines = [each for each in headers if each[0] != b"content-length"]
        before, _, after = body.partition(mark.encode())
        return cls(_join([*lines, *API_HEADERS]), (before, after))

    def fill_in(self, request_id: bytes, others: bytes) -> bytes:
        before, after = self.body
        size = len(before) + len(request_id) + len(after)
        return b"%b%bcontent-length: %d\r\n\r\n%b%b%b" % (
            self.head, others, size, before, request_id, after,
        )  # fmt: skip


class _Place:
    """Where a target leads to, and who has been refused there since the queue last moved."""

    def __init__(self, route: str, admission: Admission) -> None:
        self.route = route
        self.admission = admission
        self._refusals: dict[str, _Refusal] = {}
        self._turnover = -1

    def find_refusal(self, client: str) -> _Refusal | None:
        """Return what an item of this client would be told now; None if it is welcome.

        Raises other errors than Overloaded as `check_room` does.
        """
        self.admission.check_open()
        if self._turnover != self.admission.turnover:
            self._turnover = self.admission.turnover
            self._refusals.clear()
        refusal = self._refusals.get(client)
        if refusal is None:
            try:
                self.admission.check_room(
                    items=1, tokens=1, priority=Priority.SINGLE, client=client
                )
            except Overloaded as error:
                refusal = self._refusals[client] = _Refusal.make(error)
        return refusal


class EarlyRefusal:
    """Refuses single items that would find no room; used from one event loop."""

    def __init__(
        self, readiness: Readiness, metrics: Metrics, identification: Identification
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._identification = identification
        # Trusts whom uvicorn trusts in front of the ordinary way.
        proxies = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
        self._forward = ProxyHeadersMiddleware(_end, trusted_hosts=proxies)
        self._places: dict[bytes, _Place] = {}
        self._version = -1
        """Of the loaded models that these places are of."""
        self._refused: dict[str, Counter[str]] = {}
        """Not in the log yet: by route, how many of whom."""

    def refuse(self, target: bytes, scope: Scope) -> bytes | None:
        """Return headers and body of the 503 for a POST to a target; None: let it go on.

        `scope` is as uvicorn has it when the head has come: client and headers.
        """
        place = self._find_place(target)
        if place is None or not place.admission.waiting_items:
            return None
        started = time.perf_counter()
        names = {name for name, _ in scope["headers"]}
        if not names.isdisjoint(_UNUSUAL):
            return None
        scope = {**scope, "path": place.route}
        if b"x-forwarded-for" in names:
            self._look_behind_proxy(scope)
        found = self._find_refusal(place, scope)
        if found is None:
            return None
        client, refusal = found
        if names.isdisjoint(_TRACED):
            request_id = b"%032x" % getrandbits(128)  # to be told apart, not to be secret
            answer = refusal.fill_in(request_id, b"x-request-id: %b\r\n" % request_id)
        else:
            trace = read_trace(scope)
            answer = refusal.fill_in(trace.request_id.encode(), _join(trace.make_headers()))
        self._count(place.route, client, time.perf_counter() - started)
        return answer

    def _find_place(self, target: bytes) -> _Place | None:
        classifier = self._readiness.classifier
        if classifier is not None and classifier.loaded.version != self._version:
            self._version = classifier.loaded.version
            self._places.clear()
            for name, served in classifier.tasks.items():
                own, by_task = find_path(served.task), TASK_ROUTE.format(task=name)
                for path, route in ((own, own), (by_task, TASK_ROUTE)):
                    place = _Place(name_endpoint(route), served.model.admission)
                    for each in (path, name_endpoint(path)):
                        self._places[each.encode()] = place
        return self._places.get(target)

    def _find_refusal(self, place: _Place, scope: Scope) -> tuple[str, _Refusal] | None:
        """Who is refused and how; None too when something else than overload is the answer."""
        try:
            client = self._identification.identify(scope)
            refusal = place.find_refusal(client.name)
            if refusal is not None:
                client.check()
        except ServiceError:
            return None
        return None if refusal is None else (client.name, refusal)

    def _look_behind_proxy(self, scope: Scope) -> None:
        """Put into the scope whom uvicorn's own layer would; it waits for nothing."""
        with suppress(StopIteration):
            self._forward(scope, None, None).send(None)  # type: ignore[arg-type]

    def _count(self, route: str, client: str, duration_s: float) -> None:
        """Logs would drown, and the cores with them: one line a second tells how many."""
        self._metrics.count_error(Overloaded.slug)
        self._metrics.count_request(route, "POST", 503, duration_s)
        if not self._refused:
            asyncio.get_running_loop().call_later(_LOG_INTERVAL_S, self._log)
        self._refused.setdefault(route, Counter())[client] += 1

    def _log(self) -> None:
        for route, clients in self._refused.items():
            log(
                "refused",
                route=route,
                status=503,
                error=Overloaded.slug,
                requests=clients.total(),
                clients=dict(clients.most_common(_CLIENTS_LOGGED)),
            )
        self._refused.clear()


def _join(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % each for each in headers)


async def _end(*_: object) -> None:
    """What a layer is put around that is wanted for what it does to a scope."""
