"""The two tasks that have paths of their own, and where any task is served."""

from contract.manifest import Task

PROBLEM_TASK = "timss"
TURN_TASK = "irf"
BUILT_IN_PATHS: dict[str, str] = {
    PROBLEM_TASK: "/classify/problem",
    TURN_TASK: "/classify/dialogue-turn",
}
TASK_ROUTE = "/classify/tasks/{task}"


def find_path(task: Task) -> str:
    """Return where a task is served."""
    name = task.label_set.task
    return BUILT_IN_PATHS.get(name, TASK_ROUTE.format(task=name))
