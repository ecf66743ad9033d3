"""Routes that FastAPI documents but does not run."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls its handler with the request, and sends the response it returns.

    FastAPI's own way solves dependencies anew for each request, inside two exit stacks and
    a second net for exceptions: a quarter of what a request costs beside the engine. The
    handlers of classification need the request and nothing else.
    """

    def __init__(
        self, path: str, endpoint: Callable[[Request], Awaitable[Response]], **options: Any
    ) -> None:
        super().__init__(path, endpoint, **options)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = answer


class Shortcut:
    """The innermost ASGI layer: finds direct routes without parameters by their path.

    The router would try one pattern after the other. Everything else goes on to it. That takes
    23 to 28 of the 271 to 285 microseconds of processor time that a single item costs above the
    socket with an engine that costs nothing: 8 to 10% (AMD EPYC, one core; the least of 15 turns
    with and 15 without, 300 requests each).
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, DirectRoute) and not route.param_convertors
            for method in route.methods
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope.get("method", ""), scope["path"]))
        if route is None:
            return await self._app(scope, receive, send)
        scope.update(route=route, endpoint=route.endpoint, path_params={})
        await route.app(scope, receive, send)
