"""`/`, `/docs` and the files they need: the same for everybody, so no key is asked for."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.errors import NotFound
from service.page.assets import PREFIX, Asset


def make_page_router(assets: Mapping[str, Asset]) -> APIRouter:
    """Return the routes of these files, which lie at the paths that are the keys."""
    router = APIRouter(include_in_schema=False)

    async def send_asset(request: Request) -> Response:
        asset = assets.get(request.scope["path"])
        if asset is None:
            raise NotFound("the page has no such file; it begins at /")
        headers = {"etag": asset.etag}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.body, media_type=asset.media_type, headers=headers)

    places = [path for path in assets if not path.startswith(PREFIX)]
    for path in (*places, PREFIX + "{name:path}"):
        router.add_api_route(path, send_asset, methods=["GET", "HEAD"], response_model=None)
    return router
