"""Which checkpoint a request means: by name, by fingerprint, or the default of the task.

The default of a task is the model that was made so, or else the first loaded that serves it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from engine.checkpoint import DEFAULT_NAME
from service.errors import NotFound
from service.models.model import Model, ServedTask

_LEAST_PREFIX = 12
"""Digits of a fingerprint that name a model; fewer might soon name two."""


class LoadedModels:
    """The loaded checkpoints; changed and read from one event loop, each change in one step."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._served: dict[Model, dict[str, ServedTask]] = {}
        """By task name."""
        self._defaults: dict[str, ServedTask] = {}
        self.leaving: set[Model] = set()
        """Found by nobody any more, and not done yet with what they had accepted."""
        self.version = 0
        """Grows with every change."""
        for model in models:
            self.add(model)

    @property
    def all(self) -> tuple[Model, ...]:
        return tuple(self._served)

    @property
    def defaults(self) -> Mapping[str, ServedTask]:
        """By task name: what answers when a request names no model."""
        return MappingProxyType(self._defaults)

    def add(self, model: Model) -> None:
        """Serve a model too; it becomes the default of those of its tasks that nobody serves."""
        tasks = model.checkpoint.manifest.tasks
        found = {task.label_set.task: ServedTask(task=task, model=model) for task in tasks}
        self._served[model] = found
        self._defaults |= {name: found[name] for name in found if name not in self._defaults}
        self.version += 1

    def remove(self, model: Model) -> None:
        """Let nobody find a model any more; it must be the default of no task.

        It is in `leaving` until it is taken out of there.
        """
        if any(served.model is model for served in self._defaults.values()):
            raise ValueError("a default cannot be taken away")
        del self._served[model]
        self.leaving.add(model)
        self.version += 1

    def set_default(self, model: Model) -> None:
        """Make a model the default of all tasks that it serves."""
        self._defaults = self._defaults | self._served[model]
        self.version += 1

    def list_defaults(self, model: Model) -> list[str]:
        """Return the tasks whose default the model is."""
        return [name for name, served in self._defaults.items() if served.model is model]

    def list_tasks(self, model: Model) -> list[ServedTask]:
        """Return the tasks that the model serves."""
        return list(self._served[model].values())

    def find(self, name: str) -> Model:
        """Return the model of that name or fingerprint (whole, or its first digits)."""
        model = self._find(name)
        if model is None:
            names = ", ".join(f"{each.name} ({each.fingerprint})" for each in self._served)
            raise NotFound(f"`model` names no loaded checkpoint; there is: {names}")
        return model

    def find_task(self, task: str, name: str | None = None) -> ServedTask:
        """Return a task at the model of that name or fingerprint, or at the task's default.

        NotFound lists what there is.
        """
        if task not in self._defaults:
            served = ", ".join(self._defaults)
            raise NotFound(f"no loaded checkpoint serves this task; loaded: {served}")
        if _means_default(name):
            return self._defaults[task]
        found = self._served[self.find(name or "")].get(task)
        if found is None:
            able = [model.name for model, tasks in self._served.items() if task in tasks]
            raise NotFound(f"`model` does not serve this task; these do: {', '.join(able)}")
        return found

    def find_tasks(self, name: str | None) -> list[ServedTask]:
        """Return all tasks that the `model` of a foreign protocol names.

        It is a model's name or fingerprint, a task's name, or both as `NAME/TASK`; none, or
        `default`, names the default of every task. NotFound lists what there is.
        """
        if _means_default(name):
            return list(self._defaults.values())
        assert name is not None
        prefix, _, task = name.rpartition("/")
        if task in self._defaults:
            return [self.find_task(task, prefix)]
        model = self._find(name)
        if model is None:
            raise NotFound(f"`model` names nothing that is loaded; there is: {self.describe()}")
        return self.list_tasks(model)

    def describe(self) -> str:
        """Return all tasks of all models as `NAME/TASK`, for messages."""
        tasks = (served for each in self._served.values() for served in each.values())
        return ", ".join(f"{served.model.name}/{served.name}" for served in tasks)

    def _find(self, name: str) -> Model | None:
        for model in self._served:
            if name == model.name:
                return model
        if len(name) >= _LEAST_PREFIX:
            for model in self._served:
                if model.fingerprint.startswith(name):
                    return model
        return None


def _means_default(name: str | None) -> bool:
    return name is None or name in ("", DEFAULT_NAME)
