"""The real server around any ASGI application, in the event loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from service.http.connection import LiveConnection, Refuse, make_connection_type


@asynccontextmanager
async def serve(
    app: Any,
    *,
    head_timeout_s: float = 60.0,
    stall_timeout_s: float = 60.0,
    refuse: Refuse = lambda target, scope: None,
    **options: Any,
) -> AsyncIterator[str]:
    """Serve on a free loopback port; yields `host:port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=make_connection_type(head_timeout_s, refuse, stall_timeout_s=stall_timeout_s),
        ws=LiveConnection,
        log_level="error",
        # Setting logging up anew ends the handlers that there are, and absl's, which OpenVINO
        # brings, would close the stderr that it has seen first: pytest's own.
        log_config=None,
        timeout_graceful_shutdown=2,
        **options,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not task.done(), "uvicorn did not start"
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
