"""The ASGI application: layers around routes."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import information, routes
from service.bodies import explain
from service.errors import InvalidInput, MethodNotAllowed, NotFound
from service.keys import ApiKeys
from service.middleware import Telemetry
from service.openapi import install_openapi
from service.requests import Core
from service.security import Security


def create_app(core: Core, keys: ApiKeys) -> FastAPI:
    """Build the application; the engines may still be loading."""
    app = FastAPI(
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            HTTPException: _raise_http_error,
            RequestValidationError: _raise_invalid_request,
        },
    )
    app.state.core = core
    app.include_router(routes.router)
    app.include_router(information.router)
    # The last one added is the outermost.
    app.add_middleware(Security, keys=keys)
    app.add_middleware(Telemetry, metrics=core.metrics)
    install_openapi(app)
    return app


async def _raise_http_error(request: Request, error: Exception) -> None:
    """Turn the router's own errors into ours; the outermost layer answers them."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise NotFound("nothing is served at this path; see /docs") from None
    if error.status_code == 405:
        raise MethodNotAllowed(
            "this path does not take this method; see /docs", headers=error.headers
        ) from None
    raise InvalidInput("the request cannot be read") from None


async def _raise_invalid_request(request: Request, error: Exception) -> None:
    assert isinstance(error, RequestValidationError)
    raise explain(error.errors()) from None
