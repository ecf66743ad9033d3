"""Asks a service from Python, blocking or with asyncio: `Client` and `AsyncClient`.

Of this project it needs nothing: it is a package of its own (`pyproject.toml` beside this file),
and lies in the application too. The rules of both clients stand once: `calls` has what each call
sends and reads, `flows` when it is sent again, `sessions` the connections that last.
"""

from ncal_client.address import VERSION as __version__
from ncal_client.async_client import AsyncClient
from ncal_client.client import Client
from ncal_client.errors import (
    BodyTooLarge,
    Conflict,
    DeadlineExceeded,
    Draining,
    EngineDead,
    EngineFailed,
    Forbidden,
    Internal,
    InvalidInput,
    LiveEnded,
    MethodNotAllowed,
    NcalError,
    NoAnswer,
    NotFound,
    NotReady,
    Overloaded,
    RateLimited,
    Reason,
    ServiceError,
    StreamEnded,
    Unauthorized,
    Unreachable,
    UnsupportedMediaType,
)
from ncal_client.forms.answers import (
    Answer,
    Batch,
    ClassMix,
    DialogueAnswer,
    FileRows,
    LiveLabel,
    ModelName,
    Result,
)
from ncal_client.forms.catalogue import Label, LabelSet, Limits, Model, Task
from ncal_client.forms.items import DialogueTurn, Problem, Turn
from ncal_client.forms.options import Options
from ncal_client.forms.structure import Exchange, SpeakerShare, Structure, Transitions
from ncal_client.sessions.live import AsyncLiveDialogue, LiveDialogue

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncLiveDialogue",
    "Batch",
    "BodyTooLarge",
    "ClassMix",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "DialogueAnswer",
    "DialogueTurn",
    "Draining",
    "EngineDead",
    "EngineFailed",
    "Exchange",
    "FileRows",
    "Forbidden",
    "Internal",
    "InvalidInput",
    "Label",
    "LabelSet",
    "Limits",
    "LiveDialogue",
    "LiveEnded",
    "LiveLabel",
    "MethodNotAllowed",
    "Model",
    "ModelName",
    "NcalError",
    "NoAnswer",
    "NotFound",
    "NotReady",
    "Options",
    "Overloaded",
    "Problem",
    "RateLimited",
    "Reason",
    "Result",
    "ServiceError",
    "SpeakerShare",
    "StreamEnded",
    "Structure",
    "Task",
    "Transitions",
    "Turn",
    "Unauthorized",
    "Unreachable",
    "UnsupportedMediaType",
    "__version__",
]
