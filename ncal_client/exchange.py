"""From a step to what httpx2 sends, and from its answers and errors back."""

import httpx2

from ncal_client.errors import Unreachable
from ncal_client.flows import Exchange, Response
from ncal_client.waiting import CONNECT_S

_SILENCE_S = 120.0
"""After which no answer is expected any more: longer than a service works on a request that names
no deadline."""
_GRACE_S = 0.5
"""For the answer of a service that stops at the deadline, to come here."""


def build_request(http: httpx2.Client | httpx2.AsyncClient, step: Exchange) -> httpx2.Request:
    """Return the request of a step. Its deadline is told to the service, which drops the work."""
    ask, timeout_s = step.ask, step.timeout_s
    headers = dict(ask.headers)
    if timeout_s is not None:
        headers["x-request-timeout"] = f"{timeout_s:.3f}"
    wait_s = _SILENCE_S if timeout_s is None else timeout_s + _GRACE_S
    return http.build_request(
        ask.method,
        ask.path,
        params=dict(ask.query),
        content=ask.content,
        files=None if ask.files is None else dict(ask.files),
        data=None if ask.fields is None else dict(ask.fields),
        headers=headers,
        timeout=httpx2.Timeout(wait_s, connect=min(CONNECT_S, wait_s), pool=None),
    )


def to_response(response: httpx2.Response) -> Response:
    """Return what was answered."""
    return Response(
        status=response.status_code,
        reason=response.reason_phrase,
        retry_after=response.headers.get("retry-after"),
        body=response.content,
    )


def explain(error: httpx2.RequestError, url: str) -> Unreachable:
    """Return why there is no answer."""
    reason = str(error) or type(error).__name__
    return Unreachable(f"{url} cannot be reached: {reason}")
