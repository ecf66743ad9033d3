"""The two tasks that have paths of their own, and where any task is served."""

from contract.manifest import Task

PROBLEM_TASK = "timss"
TURN_TASK = "irf"
VERSION = "/v1"
"""Before every path of classification; the same paths are there without it too, and stay."""
_CLASSIFY = "/classify/"
BUILT_IN_PATHS: dict[str, str] = {
    PROBLEM_TASK: "/v1/classify/problem",
    TURN_TASK: "/v1/classify/dialogue-turn",
}
TASK_ROUTE = "/v1/classify/tasks/{task}"


def find_path(task: Task) -> str:
    """Return where a task is served, with the version."""
    name = task.label_set.task
    return BUILT_IN_PATHS.get(name, TASK_ROUTE.format(task=name))


def name_endpoint(path: str) -> str:
    """Return the one name, for metrics and logs, of an endpoint that has two paths."""
    return path.removeprefix(VERSION) if path.startswith(VERSION + _CLASSIFY) else path


def is_unversioned(path: str) -> bool:
    """Whether a path of classification lacks its version."""
    return path.startswith(_CLASSIFY)
