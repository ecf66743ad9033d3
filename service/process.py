"""The process: listens, loads the engines, serves, drains, and exits with a telling code."""

import asyncio
import gc
import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import orjson
import uvicorn

from contract.manifest import CheckpointError
from engine.checkpoint import Checkpoint
from engine.choice import EngineChoice
from engine.errors import EngineRefused
from service.access.api_keys import ApiKeys
from service.app import create_app
from service.classifier import Classifier
from service.exit_codes import ExitCode
from service.http.connection import LiveConnection, make_connection_type
from service.http.examples import EXAMPLES
from service.http.request_context import Core
from service.models.loaded_models import LoadedModels
from service.models.loading import EngineLoader
from service.models.model import Model
from service.observability.logs import log
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.readiness import Readiness
from service.settings import Settings, SettingsError
from service.tasks import find_path

if TYPE_CHECKING:
    from service.access.shared_limits import SharedLimits


def bind_socket(settings: Settings) -> socket.socket:
    """Take the port before seconds are spent on loading; SettingsError when it is not free."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port)[0][0]
        listener = socket.socket(family)
        if os.name == "posix":  # on Windows it would share a port that another listens on
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another with --port"
        ) from error
    return listener


def serve(
    settings: Settings,
    checkpoints: list[Checkpoint],
    choice: EngineChoice,
    keys: ApiKeys,
    listener: socket.socket,
    tracing: Tracing | None = None,
) -> NoReturn:
    """Run the service to its end, which is that of the process."""
    with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
        runner.run(Process(settings, checkpoints, choice, keys, listener, tracing).run())


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists: not on Windows."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


class Server(uvicorn.Server):
    """Leaves signals to us: a drain comes before uvicorn's own shutdown."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Process:
    """One run of the service, from bound socket to exit code."""

    def __init__(
        self,
        settings: Settings,
        checkpoints: list[Checkpoint],
        choice: EngineChoice,
        keys: ApiKeys,
        listener: socket.socket,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._checkpoints = checkpoints
        self._choice = choice
        self._listener = listener
        self._metrics = Metrics(engine=choice.name)
        self._readiness = Readiness(
            self._metrics,
            canary_timeout_s=settings.canary_timeout_s,
            canary_cache_s=settings.canary_cache_s,
            canary_interval_s=settings.canary_interval_s,
            max_canary_failures=settings.max_canary_failures,
        )
        self._loader = EngineLoader(settings, choice, self._metrics)
        core = Core(settings=settings, metrics=self._metrics, readiness=self._readiness)
        self._tracing = tracing
        app = create_app(core, keys, self._loader, tracing)
        self._shared_limits: SharedLimits | None = app.state.shared_limits
        self._server = Server(
            uvicorn.Config(
                app,
                http=make_connection_type(
                    settings.head_timeout_s,
                    app.state.early_refusal.refuse,
                    stall_timeout_s=settings.stall_timeout_s,
                ),
                ws=LiveConnection,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                backlog=2048,
                # Sessions refuse what is too large with a message; this bounds memory.
                ws_max_size=4 * settings.max_live_message_bytes,
                # One packet of well compressed messages would unpack into far too many.
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._stop = asyncio.Event()

    async def run(self) -> NoReturn:
        """Serve until a signal or a fault, and end the process with a telling code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            _handle_signal(loop, number, self._stop.set)
        if self._settings.stop_with_stdin:
            _handle_end_of_input(loop, self._stop.set)
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        if self._shared_limits is not None:
            self._watching = asyncio.create_task(self._shared_limits.watch())
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((serving, starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        exit_code = self._find_exit_code(starting)
        await self._readiness.drain(0.0 if exit_code else self._settings.drain_timeout_s)
        self._server.should_exit = True
        await serving
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if exit_code is ExitCode.DRAINED:
            await self._readiness.close()
        _leave(exit_code)

    async def _start(self) -> ExitCode:
        """Load the engines one after the other, prove them, say so, and watch them.

        Returns when one has died or hangs.
        """
        log("engine", **self._choice._asdict())
        models = [await asyncio.to_thread(self._loader.load, each) for each in self._checkpoints]
        loaded = LoadedModels(models)
        if self._settings.default_model:
            loaded.set_default(loaded.find(self._settings.default_model))
        classifier = Classifier(loaded, self._metrics)
        self._readiness.open(classifier)
        await self._readiness.wait_until_ready()
        if self._settings.shadow_model:
            classifier.shadow.start(
                loaded.find(self._settings.shadow_model), self._settings.shadow_share
            )
        # What is loaded stays: a full collection of torch's and vLLM's objects would stop
        # all requests for half a second, again and again.
        gc.collect()
        gc.freeze()
        address = self._listener.getsockname()
        print(_make_banner(address[0], address[1], models[0]), flush=True)
        log("ready", models=[model.name for model in models])
        return await self._readiness.watch_engines()

    def _find_exit_code(self, starting: asyncio.Task[ExitCode]) -> ExitCode:
        if not starting.done():
            return ExitCode.DRAINED
        error = starting.exception()
        if error is None:
            return starting.result()
        if isinstance(error, CheckpointError | EngineRefused):
            print(f"service: {error}", file=sys.stderr)
            return ExitCode.REFUSED
        reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        print(f"service: the engine did not start: {reason}", file=sys.stderr)
        return ExitCode.START_FAILED


def _handle_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, react: Callable[[], None]
) -> None:
    try:
        loop.add_signal_handler(number, react)
    except NotImplementedError:  # on Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(react))


def _handle_end_of_input(loop: asyncio.AbstractEventLoop, react: Callable[[], None]) -> None:
    def read_to_the_end() -> None:
        with suppress(OSError):  # closed before it was read
            while os.read(0, 4096):
                pass
        loop.call_soon_threadsafe(react)

    threading.Thread(target=read_to_the_end, name="stdin", daemon=True).start()


def _make_banner(host: str, port: int, model: Model) -> str:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    task = model.checkpoint.manifest.tasks[0]
    example = orjson.dumps(EXAMPLES[task.label_set.kind]).decode()
    return (
        f"NCAL Serve is ready at {url} (docs at {url}/docs). Try: curl -s {url}{find_path(task)} "
        f"-H 'content-type: application/json' -d '{example}'"
    )


def _leave(exit_code: ExitCode) -> NoReturn:
    """Leave without goodbyes: all that was accepted is answered, and to take an interpreter
    apart that has loaded torch takes seconds. A thread that still loads could not be stopped.
    """
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
