"""Has a service classify items in batches, and waits as long as it says when it is busy."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from contract.inputs import Kind
from contract.interaction import Scheme, read_scheme
from contract.labels import LabelSet
from contract.manifest import Manifest
from contract.prompts import ContextWindow
from labelling.errors import ServiceFailure
from tables.errors import FileError

_TIMEOUT_S = 120.0
_SHORTEST_WAIT_S = 0.5
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LATER = {408, 425, 429, 500, 502, 503, 504}
"""Statuses after which the same request may succeed."""
_TOO_MUCH = {400, 413, 422}
"""Statuses that the items of a request can be to blame for."""


class ServedTask(NamedTuple):
    """What must be known of a task to label rows with it."""

    name: str
    kind: Kind
    window: ContextWindow
    groups: Mapping[str, str]
    """Label → its group, in the order of the label set."""
    training_prior: tuple[float, ...]
    """Share of each label in the training data, in the order of `groups`."""
    names: Mapping[str, tuple[str, str]]
    """Label → what it is called in English and in Chinese."""
    scheme: Scheme | None
    """What the labels do in a dialogue; None where they name no moves."""
    model: str
    """Name and fingerprint, `ncal-mini a3d99b2ec49d`."""


class Client:
    """A service at an address; every call may be made from several threads."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        patience_s: float = 300.0,
        ended: Event | None = None,
    ) -> None:
        """`ended` is set when the service cannot come back: then nothing waits for it."""
        if not url.startswith(("http://", "https://")):
            raise FileError(f"--url {url}: must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        # A proxy of the environment cannot see this machine's own addresses.
        proxies: dict[str, str] | None = {} if urlsplit(url).hostname in _LOOPBACK else None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        self._patience_s = patience_s
        self._ended = ended or Event()

    def stop(self) -> None:
        """Let calls that wait for the service fail now."""
        self._ended.set()

    def list_tasks(self) -> list[ServedTask]:
        """What the service can label; ServiceFailure at once if nobody is there."""
        labels, models = self._call("/labels", waits=False), self._call("/models", waits=False)
        try:
            sets = {each["task"]: each["labels"] for each in labels["tasks"]}
            schemes = {each["task"]: _read_scheme(each) for each in labels["tasks"]}
            return [
                ServedTask(
                    name=task["task"],
                    kind=task["kind"],
                    window=ContextWindow(task["previous_turns"], task["following_turns"]),
                    groups={each["id"]: each["group"] for each in sets[task["task"]]},
                    training_prior=tuple(
                        task["training_prior"][each["id"]] for each in sets[task["task"]]
                    ),
                    names={
                        each["id"]: (each["name_en"], each["name_zh"])
                        for each in sets[task["task"]]
                    },
                    scheme=schemes[task["task"]],
                    model=_name_model(model),
                )
                for model in models["models"]
                for task in model["tasks"]
                if task.get("is_default", True)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"--url {self._url}: is no NCAL Serve") from error

    def classify(self, task: ServedTask, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a result for each item, as a batch of the service has them, uniform prior.

        A request that is refused for what is in it is sent again by halves, so that one item
        never costs another its answer. Raises ServiceFailure when the service stays away for
        longer than the patience, or answers with another model.
        """
        if not items:
            return []
        query = urlencode({"prior": "uniform", "prediction_set": "true"})
        path = f"/classify/tasks/{task.name}/batch?{query}"
        try:
            results: list[dict[str, Any]] = self._call(path, {"items": list(items)})["results"]
        except _Refused as refusal:
            if len(items) == 1:
                return [{"status": "error", "error": refusal.problem}]
            middle = len(items) // 2
            return [
                *self.classify(task, items[:middle]),
                *self.classify(task, items[middle:]),
            ]
        for result in results:
            if result["status"] == "ok":
                model = _name_model(result["prediction"]["model"])
                if model != task.model:
                    raise ServiceFailure(
                        f"{self._url} answers with {model} now, and began with {task.model}; label "
                        "the file anew with --restart"
                    )
        return results

    def _call(self, path: str, content: Any = None, *, waits: bool = True) -> Any:
        """The JSON of an answer, waiting and asking again while the service is busy or away."""
        body = None if content is None else json.dumps(content).encode()
        end = time.monotonic() + self._patience_s
        while True:
            wait_s = _SHORTEST_WAIT_S
            try:
                request = urllib.request.Request(self._url + path, body, self._headers)
                with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                    answer = json.load(response)
                reason = _find_passing_failure(answer)
                if not reason:
                    return answer
            except urllib.error.HTTPError as error:
                problem = _read_problem(error)
                reason = f"answers {error.code}: {problem['detail']}"
                if error.code in _TOO_MUCH and content is not None:
                    raise _Refused(problem) from error
                if error.code not in _LATER:
                    remedy = "; put a key into NCAL_API_KEY" if error.code == 401 else ""
                    raise ServiceFailure(f"{self._url}{path} {reason}{remedy}") from error
                wait_s = max(wait_s, _read_seconds(error.headers.get("retry-after")))
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason = f"cannot be reached: {getattr(error, 'reason', error)}"
                if not waits:
                    raise ServiceFailure(f"{self._url} {reason}") from error
            if self._ended.is_set() or time.monotonic() + wait_s > end:
                raise ServiceFailure(f"{self._url} {reason}")
            self._ended.wait(wait_s)


class _Refused(Exception):
    """The service will never take this request."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


def describe_tasks(manifest: Manifest) -> list[ServedTask]:
    """What `Client.list_tasks` will say of a service with this checkpoint."""
    return [
        ServedTask(
            name=task.label_set.task,
            kind=task.label_set.kind,
            window=task.window,
            groups={label.id: label.group for label in task.label_set.labels},
            training_prior=task.training_prior,
            names={label.id: (label.name_en, label.name_zh) for label in task.label_set.labels},
            scheme=read_scheme(task.label_set),
            model=_name_model({"name": manifest.name, "fingerprint": manifest.fingerprint}),
        )
        for task in manifest.tasks
    ]


def _read_scheme(described: Mapping[str, Any]) -> Scheme | None:
    """From what `/labels` says of a task; fields of a later release are left out."""
    known = {name: described[name] for name in LabelSet.model_fields if name in described}
    return read_scheme(LabelSet.model_validate(known))


def _name_model(model: Mapping[str, Any]) -> str:
    """From the form in which every answer names it."""
    return f"{model['name']} {model['fingerprint']}"


def _find_passing_failure(answer: Any) -> str:
    """Why an item of a batch has no answer though it may get one later; empty if none."""
    for result in answer.get("results", ()) if isinstance(answer, dict) else ():
        # 500: the engine fails on this very item, and must not hold up the rest for ever.
        if result["status"] == "error" and result["error"]["status"] in _LATER - {500}:
            return f"answers {result['error']['status']}: {result['error']['detail']}"
    return ""


def _read_problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        problem = json.load(error)
        return {"status": error.code, "detail": str(problem["detail"]), **problem}
    except (OSError, ValueError, TypeError, KeyError):
        return {"status": error.code, "detail": error.reason}


def _read_seconds(value: str | None) -> float:
    try:
        return float(value or 0.0)
    except ValueError:  # a date, which ours never sends
        return 0.0
