"""Headers that keep browsers from misusing an answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DOCS = "/docs"
DOCS_ASSETS = "/docs/assets"
"""Scripts and styles of the forms at `/docs`, served from here: no CDN is asked."""
DOCS_SCRIPTS = (f"{DOCS_ASSETS}/swagger-ui-bundle.js", f"{DOCS_ASSETS}/swagger-ui.css")
_PAGE = "/page/"

_Headers = tuple[tuple[bytes, bytes], ...]
_COMMON_HEADERS: _Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NEVER_STORED = (b"cache-control", b"no-store")
_ASKED_AGAIN = (b"cache-control", b"no-cache")
"""A file of the page is kept, but a browser asks each time whether it is another now."""
API_HEADERS: _Headers = (
    *_COMMON_HEADERS,
    _NEVER_STORED,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer that is no page."""
_PAGE_HEADERS: _Headers = (
    *_COMMON_HEADERS,
    _ASKED_AGAIN,
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; require-trusted-types-for 'script'",
    ),
)
"""No inline script or style, and no text that becomes HTML."""
_DOCS_HEADERS: _Headers = (
    *_COMMON_HEADERS,
    _ASKED_AGAIN,
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'",
    ),
)
"""What draws the forms writes styles into its elements."""


def _find_headers(path: str) -> _Headers:
    if path == "/" or path.startswith(_PAGE):
        return _PAGE_HEADERS
    return _DOCS_HEADERS if path == _DOCS or path.startswith(DOCS_ASSETS) else API_HEADERS


class SecurityHeaders:
    """The outermost ASGI layer: every answer, errors too, carries the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = _find_headers(scope["path"])

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_hardened)
