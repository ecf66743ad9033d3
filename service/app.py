"""The ASGI application: layers around routes."""

from typing import TYPE_CHECKING, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Route

from service.access.api_keys import ApiKeys
from service.access.identification import Identification, Security
from service.access.rate_limit import RateLimit
from service.access.slots import Buffer, Slots
from service.api import admin, classify, dialogue, files, health, information, stream
from service.errors import InvalidInput, MethodNotAllowed, NotFound
from service.files.jobs import FileJobs
from service.http.bodies import explain
from service.http.direct_route import Shortcut
from service.http.early_refusal import EarlyRefusal
from service.http.openapi import install_openapi, name_operation
from service.http.request_context import Core
from service.http.security_headers import DOCS_ASSETS, DOCS_SCRIPTS, SecurityHeaders
from service.live import endpoint as live
from service.models.loading import Loader
from service.observability.telemetry import Telemetry
from service.observability.tracing import Tracing
from service.page.assets import read_assets
from service.page.routes import make_page_router
from service.protocols.routes import OTHER_PROTOCOLS, list_bodies, list_error_forms, make_router
from service.rotation.rotation import Rotation
from service.settings import Settings, SettingsError
from service.tasks import VERSION, is_unversioned, name_endpoint

if TYPE_CHECKING:
    from service.access.shared_limits import SharedLimits


def create_app(
    core: Core, keys: ApiKeys, loader: Loader | None = None, tracing: Tracing | None = None
) -> FastAPI:
    """Build the application; the engines may still be loading. `loader` loads more of them, and
    `tracing` exports spans.

    `state.early_refusal` is for the connections in front of it.
    """
    assets = read_assets(with_page=core.settings.page)
    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        static_url=DOCS_ASSETS,
        redirect_slashes=False,
        generate_unique_id_function=name_operation,
        exception_handlers={
            HTTPException: _raise_http_error,
            RequestValidationError: _raise_invalid_request,
        },
    )
    app.state.core = core
    settings = core.settings
    app.state.buffer = Buffer(settings.max_buffered_bytes)
    app.state.stream_slots = Slots(
        settings.max_streams, "streams", most_each=settings.max_client_streams
    )
    app.state.live_slots = Slots(
        settings.max_live_sessions, "live dialogues", most_each=settings.max_client_live_sessions
    )
    core.metrics.watch_connections(
        streams=lambda: app.state.stream_slots.taken, sessions=lambda: app.state.live_slots.taken
    )
    app.state.file_jobs = FileJobs(core.settings)
    for version, tag in ((VERSION, "classify"), ("", "classify, without a version")):
        for module in (classify, stream, dialogue, live):
            app.include_router(module.router, prefix=version, tags=[tag])
    for module in (files, information, health):
        app.include_router(module.router)
    forms = list_bodies(settings.protocols)
    if settings.admin_paths and loader is not None:
        app.state.rotation = Rotation(settings, core.metrics, core.readiness, loader)
        app.include_router(admin.router)
        forms += admin.FORMS
    app.include_router(make_router(core.settings.protocols))
    app.include_router(make_page_router(assets))
    for endpoint in _find_classify_endpoints(app):
        core.metrics.add_route(endpoint, "POST")
    shared = app.state.shared_limits = _share_limits(core)
    identification = Identification(
        keys,
        limit=_make_rate_limit(core.settings),
        shared=shared,
        open_metrics=core.settings.open_metrics,
        open_paths=(*assets, *DOCS_SCRIPTS),
    )
    _add_layers(app, core, identification, tracing)
    app.state.early_refusal = EarlyRefusal(core.readiness, core.metrics, identification)
    install_openapi(app, settings, forms)
    return app


def _find_classify_endpoints(app: FastAPI) -> set[str]:
    """Return the endpoints whose answers the service level objectives count."""
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    return {
        name_endpoint(route.path)
        for route in routes
        if is_unversioned(route.path) or OTHER_PROTOCOLS in route.tags
        if "POST" in route.methods
    }


def _add_layers(
    app: FastAPI, core: Core, identification: Identification, tracing: Tracing | None
) -> None:
    """Put the layers around the routes; the last one added is the outermost."""
    settings = core.settings
    app.add_middleware(Shortcut, routes=app.routes)
    app.add_middleware(
        Security,
        identification=identification,
        allowed_origins=settings.cors_origins,
    )
    error_forms = list_error_forms(settings.protocols)
    app.add_middleware(Telemetry, metrics=core.metrics, error_forms=error_forms, tracing=tracing)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "X-Request-Id", "X-Request-Timeout", "traceparent"),
            expose_headers=("X-Request-Id", "Retry-After"),
        )
    app.add_middleware(SecurityHeaders)


def _make_rate_limit(settings: Settings) -> RateLimit | None:
    if not settings.rate_limit_items_per_s:
        return None
    return RateLimit(
        items_per_s=settings.rate_limit_items_per_s,
        burst_items=settings.rate_limit_burst_items,
    )


def _share_limits(core: Core) -> "SharedLimits | None":
    """Return what counts for all replicas, if the operator named a Redis.

    SettingsError when the address is none.
    """
    settings = core.settings
    if not settings.redis_url:
        return None
    from service.access.shared_limits import SharedLimits

    try:
        shared = SharedLimits(
            settings.redis_url,
            items_per_s=settings.rate_limit_items_per_s,
            burst_items=settings.rate_limit_burst_items,
            timeout_s=settings.redis_timeout_s,
        )
    except ValueError:  # its message may quote the address, in which a password stands
        raise SettingsError(
            "--redis-url (or NCAL_REDIS_URL): is no address of a Redis; write it as "
            "redis://user:password@host:6379/0"
        ) from None
    core.metrics.watch_shared_limits(lambda: shared.is_up)
    return shared


async def _raise_http_error(request: Request, error: Exception) -> NoReturn:
    """Turn the router's own errors into ours; the outermost layer answers them."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        raise NotFound("nothing is served at this path; see /docs") from None
    if error.status_code == 405:
        raise MethodNotAllowed(
            "this path does not take this method; see /docs",
            headers={"Allow": ", ".join(_find_methods(request))},
        ) from None
    raise InvalidInput("the request cannot be read") from None


def _find_methods(request: Request) -> list[str]:
    """The methods of all routes at the path; the router tells those of the first alone."""
    found = [
        route.methods
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({method for methods in found for method in methods or ()})


async def _raise_invalid_request(request: Request, error: Exception) -> NoReturn:
    assert isinstance(error, RequestValidationError)
    raise explain(error.errors()) from None
