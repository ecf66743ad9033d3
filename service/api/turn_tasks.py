"""Which task labels the turns of a dialogue."""

from starlette.requests import HTTPConnection

from service.errors import InvalidInput, Reason
from service.http.request_context import find_task, get_core
from service.models.model import ServedTask
from service.schemas import LiveOptions
from service.tasks import TURN_TASK


def find_turn_task(connection: HTTPConnection, options: LiveOptions) -> ServedTask:
    """Return the task that is named, or the built-in one, or the only one of turns.

    Raises as `find_task` does, and InvalidInput if the task labels no turns, or nothing says
    which of several is meant.
    """
    loaded = get_core(connection).readiness.require_classifier().loaded
    found = loaded.find_tasks(options.model)
    fitting = [each.name for each in found if each.task.label_set.kind == "dialogue-turn"]
    name = options.task
    if name is None and (TURN_TASK in fitting or not fitting):
        name = TURN_TASK
    if name is None and len(fitting) > 1:
        raise _refuse(f"say which task labels the turns: {', '.join(fitting)}")
    served = find_task(connection, name or fitting[0], options)
    if served.task.label_set.kind != "dialogue-turn":
        raise _refuse(f"labels no turns; those that do: {', '.join(fitting) or 'none'}")
    return served


def _refuse(reason: str) -> InvalidInput:
    reasons = [Reason("query.task", reason)]
    return InvalidInput("the input breaks a rule; `errors` names the fields", reasons=reasons)
