"""What the engine's process does before vLLM is imported there."""

import os
import threading
import time

from service.environment import ENGINE_LOG_LEVEL
from service.logs import configure_logs

_INTERVAL_S = 1.0


def prepare_child() -> None:
    """Log as the service does, and end when the service is gone.

    Messages of exceptions are logged here: this process sees token ids and never a text,
    and why an engine did not start must be known.

    vLLM's engine does not notice that: were the service killed without warning, an orphan
    would hold the model's memory, on a GPU all of it.
    """
    configure_logs(os.environ[ENGINE_LOG_LEVEL], with_messages=True)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL_S)
    os._exit(1)
