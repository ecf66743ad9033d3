"""What a request may be: the operator's settings, as clients and the OpenAPI document see them."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from service.settings import Settings

LEAST_TIMEOUT_S = 0.1
"""Shortest deadline that a request may name: below it nothing could be answered in time."""
_JSON, _LINES, _FORM = "application/json", "application/x-ndjson", "multipart/form-data"


class Limits(BaseModel):
    """The largest that is taken. How many tokens are read stands with each task."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_text_characters: int
    """Of a problem, or of a turn."""
    max_context_turns: int
    """Before, and after, a dialogue turn."""
    max_batch_items: int
    max_dialogue_turns: int
    """Of a dialogue that is sent whole."""
    max_live_turns: int
    max_body_bytes: int
    """Streams have no such limit."""
    max_body_values: int
    """Names and values in the JSON of a body."""
    max_json_depth: int
    max_line_bytes: int
    """Of a line of a stream."""
    max_live_message_bytes: int
    max_upload_bytes: int
    max_client_streams: int
    """Open at once, of one client."""
    max_client_live_sessions: int
    """Open at once, of one client."""
    max_client_uploads: int
    """At once, of one client."""
    min_request_timeout_s: float
    """Shortest deadline that a request may name."""
    request_timeout_s: float
    """Deadline of a request that names none."""
    max_request_timeout_s: float
    """Latest deadline that a request may name; an item of a stream has it by default."""
    body_timeout_s: float
    """In which a body must have come."""
    stall_timeout_s: float
    """In which something of an answer must be taken."""
    stream_idle_timeout_s: float
    live_idle_timeout_s: float


def read_limits(settings: Settings) -> Limits:
    """Return the limits that the settings set."""
    named = {name: getattr(settings, name, None) for name in Limits.model_fields}
    return Limits.model_validate(named | {"min_request_timeout_s": LEAST_TIMEOUT_S})


def describe_limits(document: dict[str, Any], limits: Limits) -> None:
    """Write the limits into an OpenAPI document: where each applies, and all as `x-limits`."""
    document["info"]["x-limits"] = limits.model_dump()
    for (form, field), (rule, most) in _list_bounds(limits).items():
        schema = document["components"]["schemas"].get(form)
        if schema is not None:
            schema["properties"][field][rule] = most
    most_bytes = {
        _JSON: f"At most {limits.max_body_bytes:,} bytes.",
        _LINES: f"Lines of at most {limits.max_line_bytes:,} bytes, as many as you like.",
        _FORM: f"At most {limits.max_upload_bytes:,} bytes.",
    }
    for path, operation in _list_operations(document):
        for media_type in operation.get("requestBody", {}).get("content", ()):
            operation["requestBody"]["description"] = most_bytes[media_type]
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "X-Request-Timeout":
                by_default = limits.request_timeout_s
                if path.endswith("/stream"):
                    by_default = limits.max_request_timeout_s
                more = {"maximum": limits.max_request_timeout_s, "default": by_default}
                parameter["schema"] = parameter["schema"] | more


def _list_bounds(limits: Limits) -> dict[tuple[str, str], tuple[str, int]]:
    """By form and field: the rule of JSON schema that bounds it."""
    texts = ("ProblemItem", "DialogueTurnItem", "SpokenTurn", "Turn")
    context = ("maxItems", limits.max_context_turns)
    return {
        **{(form, "text"): ("maxLength", limits.max_text_characters) for form in texts},
        ("DialogueTurnItem", "previous"): context,
        ("DialogueTurnItem", "following"): context,
        ("ProblemBatch", "items"): ("maxItems", limits.max_batch_items),
        ("DialogueTurnBatch", "items"): ("maxItems", limits.max_batch_items),
        ("Dialogue", "turns"): ("maxItems", limits.max_dialogue_turns),
    }


def _list_operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation
