"""Has a service classify items, and waits as long as it says when it is busy: `ncal_client` as
labelling needs it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any, NamedTuple, TypeVar

import ncal_client
from contract.inputs import Kind
from contract.interaction import Scheme, read_scheme
from contract.labels import LabelSet
from contract.manifest import Manifest
from contract.prompts import ContextWindow
from labelling.errors import ServiceFailure
from ncal_client import NoAnswer, Result, ServiceError, Unauthorized, Unreachable
from ncal_client.batches import may_pass
from tables.errors import FileError

T = TypeVar("T")


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
    """Name and fingerprint, `ncal-mini d531bcb5c21f`."""


class Client:
    """A service at an address; every call may be made from several threads."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        patience_s: float = 300.0,
        ended: Event | None = None,
    ) -> None:
        """`model` names the checkpoint that shall answer, as `?model=` does; without one it is
        that of the service. `ended` is set when the service cannot come back: then nothing waits
        for it."""
        try:
            self._client = ncal_client.Client(url, key=key, patience_s=patience_s, stopped=ended)
        except ValueError as error:
            raise FileError(f"--url {error}") from None
        self._url = url.rstrip("/")
        self._model = model

    def stop(self) -> None:
        """Let calls that wait for the service fail now."""
        self._client.stop()

    def list_tasks(self) -> list[ServedTask]:
        """What the service can label; ServiceFailure at once if nobody is there, FileError if it
        has no such model."""
        with _explained(self._url):
            labels = self._patiently(self._client.list_labels)
            models = self._patiently(self._client.list_models)
        sets = {each.task: each for each in labels}
        chosen = [each for each in models if self._model is None or _is_called(each, self._model)]
        if models and not chosen:
            names = ", ".join(each.name for each in models)
            raise FileError(f"--model {self._model}: {self._url} has no such model, but {names}")
        try:
            return [
                _make_task(model, task, sets[task.name])
                for model in chosen
                for task in model.tasks
                if task.is_default or self._model is not None
            ]
        except (KeyError, ValueError) as error:
            raise FileError(f"--url {self._url}: is no NCAL Serve") from error

    def classify(self, task: ServedTask, items: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Return a result for each item, uniform prior.

        One item never costs another its answer. Raises ServiceFailure when the service stays away
        for longer than the patience, or answers with another model.
        """
        if not items:
            return []
        options: ncal_client.Options = {"prior": "uniform", "prediction_set": True}
        if self._model is not None:
            options["model"] = self._model
        with _explained(self._url):
            results = list(self._client.classify_many(items, task=task.name, **options))
        for result in results:
            if result.answer is not None and str(result.answer.model) != task.model:
                raise ServiceFailure(
                    f"{self._url} answers with {result.answer.model} now, and began with "
                    f"{task.model}; label the file anew with --restart"
                )
            if may_pass(result.error):
                raise ServiceFailure(f"{self._url} answers {result.error}")
        return results

    def _patiently(self, ask: Callable[..., T]) -> T:
        """Wait for a service that is there and cannot answer yet, not for one that is not there."""
        try:
            return ask(patience_s=0.0)
        except ServiceError as error:
            if not error.is_passing:
                raise
        return ask()


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Errors of the service as those of labelling."""
    try:
        yield
    except NoAnswer as error:
        raise FileError(f"--url {error}") from error
    except Unreachable as error:
        raise ServiceFailure(str(error)) from error
    except ServiceError as error:
        remedy = "; put a key into NCAL_API_KEY" if isinstance(error, Unauthorized) else ""
        raise ServiceFailure(f"{url} answers {error}{remedy}") from error


def _is_called(model: ncal_client.Model, name: str) -> bool:
    """By its name or fingerprint, whole or its first digits; the service refuses too few."""
    return name == model.name or model.fingerprint.startswith(name)


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
            model=f"{manifest.name} {manifest.fingerprint}",
        )
        for task in manifest.tasks
    ]


def _make_task(
    model: ncal_client.Model, task: ncal_client.Task, labels: ncal_client.LabelSet
) -> ServedTask:
    return ServedTask(
        name=task.name,
        kind=task.kind,
        window=ContextWindow(task.previous_turns, task.following_turns),
        groups={each.id: each.group for each in labels.labels},
        training_prior=tuple(task.training_prior[each.id] for each in labels.labels),
        names={each.id: (each.name_en, each.name_zh) for each in labels.labels},
        scheme=_read_scheme(labels.content),
        model=f"{model.name} {model.fingerprint}",
    )


def _read_scheme(described: Mapping[str, Any]) -> Scheme | None:
    """From what `/labels` says of a task; fields of a later release are left out."""
    known = {name: described[name] for name in LabelSet.model_fields if name in described}
    return read_scheme(LabelSet.model_validate(known))
