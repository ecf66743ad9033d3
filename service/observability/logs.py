"""One JSON object a line on stderr; never a word of what a client sent.

An exception's message may quote its input, so only its type and the places it went
through are written. Of other libraries' messages only the first line is kept: asyncio
puts the exception itself into the second.
"""

import logging
import sys
import time
import traceback
from typing import Any

import orjson

from service.errors import Internal

logger = logging.getLogger("ncal")


class JsonFormatter(logging.Formatter):
    """Formats a record; `extra={"fields": {…}}` adds fields of ours."""

    def __init__(self, *, with_messages: bool = False) -> None:
        super().__init__()
        self._with_messages = with_messages

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _format_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage().split("\n", 1)[0][:500],
        }
        if record.processName not in (None, "MainProcess"):
            line["process"] = record.processName
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["fault"] = describe_fault(record.exc_info[1])
            if self._with_messages:
                line["message"] = str(record.exc_info[1])[:1000]
        return orjson.dumps(line, default=str).decode()


def configure_logs(level: str, *, with_messages: bool = False) -> None:
    """Send all logs of this process through the JSON formatter; `debug` lets vLLM's through.

    `with_messages` adds exceptions' messages: only where no text of a client can be.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(with_messages=with_messages))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logger.setLevel(level.upper())
    # Looked up for every record and written in none; a fifth of what a line costs.
    # (Names as in the logging documentation, under "Optimization".)
    logging.logThreads = logging.logProcesses = False
    logging._srcfile = None
    # vLLM warns of choices that are made here on purpose.
    logging.getLogger("vllm").setLevel(logging.INFO if level == "debug" else logging.ERROR)
    # The locked packages leave Triton out, which no CPU needs; torch says so in its own format.
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event of ours with its fields."""
    logger.log(level, event, extra={"fields": fields})


def report_fault(error: BaseException, **fields: Any) -> Internal:
    """Log an unexpected exception and return the error a client may see."""
    logger.error("fault", extra={"fields": {**fields, "fault": describe_fault(error)}})
    return Internal("an internal error; the log has it under this request id")


def describe_fault(error: BaseException) -> dict[str, Any]:
    """Return type, causes and places of an exception, without any message."""
    description: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "places": [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ],
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        description["cause"] = describe_fault(cause)
    if isinstance(error, BaseExceptionGroup):
        description["parts"] = [describe_fault(part) for part in error.exceptions]
    return description


def _format_time(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
