"""What the engine's process does before vLLM is imported there."""

import functools
import os
import signal
import threading
import time

SERVICE_PID = "NCAL_SERVICE_PID"
"""Environment variable by which the service tells this process who it is."""
_INTERVAL_S = 1.0
_NICENESS = 2
"""Of the engine: on cores that both want, answers and refusals go before the next step."""


@functools.cache
def prepare_child() -> None:
    """Yield to the service, leave Ctrl-C to it, and end when it is gone; once is enough.

    vLLM's engine does not notice when the service is killed without warning: an orphan
    would hold the model's memory, on a GPU all of it.
    """
    os.nice(_NICENESS)
    # A terminal sends Ctrl-C to both processes. Only the service may act on it: it drains
    # first, and then ends this one. vLLM sets a handler of its own, so it must be blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    service = int(os.environ[SERVICE_PID])
    threading.Thread(target=_end_with, args=(service, os.getppid()), daemon=True).start()


def _end_with(service: int, parent: int) -> None:
    # The parent may be gone before this is asked for the first time.
    while _is_there(service) and os.getppid() == parent:
        time.sleep(_INTERVAL_S)
    os._exit(1)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
