"""Headers that keep browsers from misusing an answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DOCS = "/docs"
DOCS_ASSETS = "/docs/assets"
"""Scripts and styles of the page, served from here: no CDN is asked."""

_COMMON_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
API_HEADERS = (
    *_COMMON_HEADERS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer that is no page."""
_DOCS_HEADERS = (
    *_COMMON_HEADERS,
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; img-src 'self' data:; "
        b"style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'",
    ),
)


class SecurityHeaders:
    """The outermost ASGI layer: every answer, errors too, carries the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = _DOCS_HEADERS if scope["path"].startswith(_DOCS) else API_HEADERS

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_hardened)
