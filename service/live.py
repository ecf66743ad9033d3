"""`WS /classify/dialogue/live`: the way into a live session."""

from typing import cast

from fastapi import APIRouter
from starlette.websockets import WebSocket

from service.errors import ServiceError
from service.live_session import Session
from service.places import Places
from service.requests import get_core, read_options
from service.routes import TURN_TASK
from service.security import make_refusal

router = APIRouter()


@router.websocket("/classify/dialogue/live")
async def classify_live(websocket: WebSocket) -> None:
    """A dialogue as it is spoken; `service.live_messages` has the protocol."""
    core = get_core(websocket)
    places = cast(Places, websocket.app.state.live_places)
    try:
        options = read_options(websocket)
        served = core.lifecycle.require_classifier().find_task(TURN_TASK)
        served.model.admission.check_open()
        with places.take():
            await websocket.accept()
            await Session(websocket, served, options).run()
    except ServiceError as error:  # the handshake is refused; a session answers its own errors
        core.metrics.count_error(error.slug)
        await websocket.send_denial_response(make_refusal(error, websocket.scope))
