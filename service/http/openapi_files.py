"""What `/docs` says of forms with files, and of the files that come back."""

from typing import Any, Literal

from service.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    Overloaded,
    RateLimited,
    Unauthorized,
    UnsupportedMediaType,
)
from service.files.writing import FILE_MEDIA_TYPES
from service.http.examples import FILE_EXAMPLES
from service.http.openapi import TIMEOUT_PARAMETER, describe_errors
from tables.table import FORMATS

_FILE_NOTE = (
    "With its name, whose ending says what it is: .csv, .tsv, .jsonl, .json, .xlsx, .parquet, or "
    ".txt for a transcript (`T: …`, `师：…`)."
)
_COLUMNS_NOTE = (
    'JSON `{"names": ["label"], "rows": [["recall"], …]}`: the columns to add, their rows aligned '
    "with those of `/files/read`. Without it the file is only converted."
)
_BASE_NOTE = (
    'JSON `{"columns": ["text"], "rows": [["…"], …]}`: the rows to write where there is no file.'
)


FILE_ERRORS = describe_errors(
    Unauthorized, BodyTooLarge, UnsupportedMediaType, InvalidInput, RateLimited, Internal,
    Overloaded, DeadlineExceeded,
)  # fmt: skip
"""What a route for files may answer beside 200."""


def describe_upload(action: Literal["read", "write"]) -> dict[str, Any]:
    """The same for a form with a file."""
    form: dict[str, Any] = {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary", "description": _FILE_NOTE},
            "sheet": {
                "type": "string",
                "description": "Of a workbook; by default the first that is shown.",
            },
        },
    }
    if action == "read":
        form["required"] = ["file"]
    else:
        form["properties"] |= {
            "format": {
                "enum": list(FORMATS),
                "description": "Of the answer; by default that of the file, else CSV.",
            },
            "columns": {"type": "string", "description": _COLUMNS_NOTE},
            "base": {"type": "string", "description": _BASE_NOTE},
        }
    media_type = {"schema": form, "example": FILE_EXAMPLES[action]}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": media_type}},
        "parameters": [TIMEOUT_PARAMETER],
    }


def describe_file() -> dict[str, Any]:
    """Return the OpenAPI response of a file that is written."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    rows = {"schema": {"type": "array", "items": {"type": "object"}}}
    return {
        "description": "The file; `Content-Disposition` has its name.",
        "content": dict.fromkeys(FILE_MEDIA_TYPES, binary) | {"application/json": rows},
    }
