"""The Hugging Face hub: where it is, and what its errors mean to a person."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from training.errors import BadInput

TIMEOUT_S = 30.0
"""For an answer of the hub that is not a file."""
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_REFUSED = (401, 403)


def is_hub_id(word: str) -> bool:
    """Whether a word is written as the hub's `owner/name`."""
    return _ID.fullmatch(word) is not None


def open_hub() -> HfApi:
    """The hub at HF_ENDPOINT, as whoever `hf auth login` or HF_TOKEN says."""
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


@contextmanager
def name_hub_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn the hub's errors into BadInput: `what` was wanted, `remedy` helps if it is far."""
    try:
        yield
    except GatedRepoError as error:
        raise BadInput(
            f"{what}: its owner asks for consent; give it on the hub's page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise BadInput(
            f"{what}: the hub has none of that name, or it is private; check the name, or log in "
            "(`hf auth login`, HF_TOKEN)"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        is_refused = status in _REFUSED
        raise BadInput(
            f"{what}: the hub answered {status}; "
            + ("log in with a token that may (`hf auth login`, HF_TOKEN), or " * is_refused)
            + remedy
        ) from error
    except LocalTokenNotFoundError as error:
        raise BadInput(f"{what}: nobody is logged in; `hf auth login`, or set HF_TOKEN") from error
    except HFValidationError as error:
        raise BadInput(f"{what}: is no name on the hub; write it as owner/name") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise _explain_distance(what, remedy, error) from error
    except Exception as error:
        # The library's HTTP client, whichever that is in its version.
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        raise _explain_distance(what, remedy, error) from error


def _explain_distance(what: str, remedy: str, error: Exception) -> BadInput:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return BadInput(
        f"{what}: the hub at {open_hub().endpoint} cannot be reached ({reason}); set HF_ENDPOINT "
        f"or HTTPS_PROXY, or {remedy}"
    )
