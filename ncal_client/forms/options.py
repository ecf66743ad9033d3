"""How an answer shall look, and how long it may take: the same for all that is classified."""

from collections.abc import Mapping
from typing import TypedDict


class Timing(TypedDict, total=False):
    """How long a call may take."""

    patience_s: float
    """From its begin, how long a request that may succeed later is sent again."""
    deadline_s: float | None
    """After which it fails, whatever is left; the service is told, and drops the work."""


class Options(Timing, total=False):
    """How answers shall look."""

    model: str
    """Which checkpoint answers, by name or fingerprint, where several serve the task."""
    prior: str | Mapping[str, float]
    """Class mix that label and probabilities are for: `uniform`, `training`, a share for each
    label, or `estimate` where many items come together."""
    top_k: int
    """Also the so many most probable labels, the best first."""
    prediction_set: bool
    """Also the labels that cannot be excluded."""
    raw_logits: bool
    """Also the head's raw output."""


def make_query(options: Options) -> dict[str, str]:
    """Return the query parameters of options; those of timing are none."""
    query: dict[str, str] = {}
    if "model" in options:
        query["model"] = options["model"]
    prior = options.get("prior")
    if prior is not None:
        query["prior"] = prior if isinstance(prior, str) else _join_shares(prior)
    if "top_k" in options:
        query["top_k"] = str(options["top_k"])
    if options.get("prediction_set"):
        query["prediction_set"] = "true"
    if options.get("raw_logits"):
        query["raw_logits"] = "true"
    return query


def check_many(options: Options) -> None:
    """ValueError for what cannot be asked for items that come in several requests."""
    if options.get("prior") == "estimate":
        raise ValueError(
            "prior='estimate' needs all items in one request: use classify_batch, or state the mix"
        )


def pick_timing(options: Options) -> Timing:
    """Return what options say of how long a call may take."""
    timing: Timing = {}
    if "patience_s" in options:
        timing["patience_s"] = options["patience_s"]
    if "deadline_s" in options:
        timing["deadline_s"] = options["deadline_s"]
    return timing


def _join_shares(shares: Mapping[str, float]) -> str:
    return ",".join(f"{label}:{share!r}" for label, share in shares.items())
