"""Who may call: the client of an API key, as one pure ASGI layer."""

import binascii
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from ipaddress import ip_address

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.api_keys import ApiKeys, KeyScope
from service.access.rate_limit import Client, DailyQuota, RateLimit, SharedCount
from service.errors import (
    ERROR_MEDIA_TYPE,
    NOT_TAKEN,
    Forbidden,
    ServiceError,
    Unauthorized,
    to_error_document,
    to_headers,
)

PROBES = ("/health/live", "/health/ready")
_METRICS = "/metrics"
_ADMIN = "/admin/"
LIVE_PROTOCOL = "ncal.live.1"
"""Sub-protocol of the live dialogue: what a client names that also sends its key as one."""
_KEY_PROTOCOL = "ncal.key."


class ExposureError(Exception):
    """The service would be open to the network; the message names the remedy."""


def check_exposure(host: str, keys: ApiKeys, *, allow_no_key: bool) -> None:
    """Raise ExposureError when anybody on the network could use the service without a key."""
    if keys or allow_no_key or _is_loopback(host):
        return
    raise ExposureError(
        f"--host {host} is open to the network and no API key is set; make one with "
        "`ncal key` and give its hash with --api-key-hashes or "
        "--api-key-file, or say --allow-no-key"
    )


def check_admin(keys: ApiKeys, *, admin_paths: bool) -> None:
    """Raise ExposureError when anybody could change what is served."""
    if admin_paths and not keys:
        raise ExposureError(
            "--admin-paths needs API keys; make one with `ncal key --scopes admin` and give its "
            "hash with --api-key-hashes or --api-key-file"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Identification:
    """Finds out who sends a request: the client of its key, or without keys its address."""

    def __init__(
        self,
        keys: ApiKeys,
        *,
        limit: RateLimit | None = None,
        shared: SharedCount | None = None,
        open_metrics: bool = False,
        open_paths: Iterable[str] = (),
    ) -> None:
        """`open_paths` are beside the probes those that anybody may read: exactly these. `shared`
        counts for all replicas; while it does not, `limit` counts for this one."""
        self._keys = keys
        self._limit = limit
        self._shared = shared
        self._quota = DailyQuota()
        metrics = (_METRICS,) if open_metrics else ()
        self._open_paths = frozenset((*PROBES, *metrics, *open_paths))

    def identify(self, scope: Scope) -> Client:
        """Return the client; Unauthorized when a key is asked for and none of ours is sent,
        Forbidden when it is for other things."""
        wanted = _find_scope(scope)
        if not self._keys and wanted == "admin":
            raise Forbidden("only a key with the scope `admin` may do that, and there are no keys")
        if not self._keys or scope["path"] in self._open_paths:
            name = scope["client"][0] if scope.get("client") else "local"
            return Client(name, self._limit, shared=self._shared)
        sent = _find_key(scope)
        key = None if sent is None else self._keys.find_client(sent)
        if key is None:
            raise Unauthorized("send a valid API key as `Authorization: Bearer <key>`")
        if wanted is not None and not key.may(wanted):
            raise Forbidden(f"this key is not for that: it lacks the scope `{wanted}`")
        return Client(key.name, self._limit, self._quota, key.items_per_day, self._shared)


class Security:
    """ASGI layer that lets a request through with `state["client"]` set, or refuses it.

    The key is asked for before a byte of the body is read. Belongs inside the layer that
    turns a ServiceError into a response; a WebSocket it refuses itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        identification: Identification,
        allowed_origins: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._identification = identification
        self._allowed_origins = frozenset(origin.encode() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = self._identification.identify(scope)
            scope.setdefault("state", {})["client"] = client
            try:
                return await self._app(scope, receive, send)
            except NOT_TAKEN:
                await client.refund()
                raise
        elif scope["type"] == "websocket":
            try:
                self._check_origin(scope)
                scope.setdefault("state", {})["client"] = self._identification.identify(scope)
            except (Unauthorized, Forbidden) as error:
                return await make_refusal(error, scope)(scope, receive, send)
        await self._app(scope, receive, send)

    def _check_origin(self, scope: Scope) -> None:
        """Browsers ask no leave for a cross-site WebSocket, so the server must look."""
        origin = _find_header(scope, b"origin")
        if not origin or not self._allowed_origins.isdisjoint((origin, b"*")):
            return
        if origin.partition(b"://")[2] != _find_header(scope, b"host"):
            raise Forbidden("this origin may not open a WebSocket here")


def _find_scope(scope: Scope) -> KeyScope | None:
    """What a key must be for; what only tells of the service is for every key."""
    if scope["path"] == _METRICS:
        return "metrics"
    if scope["path"].startswith(_ADMIN):
        return "admin"
    # A WebSocket has no method, nor has a request whose head has only just come: a POST.
    is_work = scope.get("method") not in ("GET", "HEAD")
    return "classify" if is_work else None


def _find_key(scope: Scope) -> bytes | None:
    """The key that is sent, if any.

    A browser can set no header of a WebSocket but its sub-protocols, and an address would
    stand in logs: there the key may come as `ncal.key.<base64url of the key>`.
    """
    scheme, _, key = _find_header(scope, b"authorization").partition(b" ")
    if scheme.lower() == b"bearer":
        return key.strip()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(_KEY_PROTOCOL):
            return _decode_key(protocol.removeprefix(_KEY_PROTOCOL))
    return None


def _decode_key(text: str) -> bytes | None:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return None


def _find_header(scope: Scope, wanted: bytes) -> bytes:
    for name, value in scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


def make_refusal(error: ServiceError, scope: Scope) -> Response:
    """Return the answer to a WebSocket handshake that is refused."""
    return Response(
        orjson.dumps(to_error_document(error, request_id=scope["state"].get("request_id"))),
        status_code=error.status,
        headers=to_headers(error),
        media_type=ERROR_MEDIA_TYPE,
    )
