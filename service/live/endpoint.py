"""`WS …/classify/dialogue/live`: the way into a live session."""

from typing import cast

from fastapi import APIRouter
from starlette.websockets import WebSocket

from service.access.identification import LIVE_PROTOCOL, make_refusal
from service.access.slots import Slots
from service.api.mixes import require_mix
from service.api.turn_tasks import find_turn_task
from service.errors import ServiceError
from service.http.request_context import get_client, get_core, read_more_options
from service.live.session import Session
from service.schemas import LiveOptions

router = APIRouter()


@router.websocket("/classify/dialogue/live")
async def classify_live(websocket: WebSocket) -> None:
    """A dialogue as it is spoken; `service.live.messages` has the protocol."""
    core = get_core(websocket)
    slots = cast(Slots, websocket.app.state.live_slots)
    try:
        options = read_more_options(websocket, LiveOptions)
        served = find_turn_task(websocket, options)
        mix = require_mix(served, options)
        served.model.admission.check_open()
        with slots.take(get_client(websocket).name):
            offered = websocket.scope.get("subprotocols", ())
            await websocket.accept(LIVE_PROTOCOL if LIVE_PROTOCOL in offered else None)
            await Session(websocket, served, options, mix).run()
    except ServiceError as error:  # the handshake is refused; a session answers its own errors
        core.metrics.count_error(error.slug)
        await websocket.send_denial_response(make_refusal(error, websocket.scope))
