"""Which cluster the work runs on, and how many engines its nodes have room for."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
import ray.data
from ray.exceptions import RayError

from bulk.cluster.access import join, keep_access
from engine.cores import count_usable_cores
from tables.errors import FileError

_SETTINGS = {
    # Ray's own 15 s are too short for a machine that is busy.
    "RAY_agent_register_timeout_ms": "60000",
    # Who does not ask for a GPU sees all of them, as Ray means to have it from now on.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # What goes wrong is told by us; Ray's own words lie in its logs.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""For a cluster that begins here; what the operator has set stays."""


class Node(NamedTuple):
    """What a machine of the cluster has to give."""

    cpus: float
    gpus: float


class Share(NamedTuple):
    """What one engine takes of a node."""

    cpus: int
    gpus: float


@contextmanager
def connect(where: str) -> Iterator[None]:
    """Join the cluster that `--ray` names, for as long as the block lasts.

    FileError if there is none, or if it breaks the work off.
    """
    # Progress is ours; what Ray writes about itself lies in its own logs.
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    if where == "local":
        options |= {"num_cpus": count_usable_cores(), "include_dashboard": False}
    with keep_access():
        join(where, options)
        try:
            yield
        except RayError as error:
            # Its text may quote a file.
            raise FileError(
                f"--ray {where}: Ray broke the work off ({type(error).__name__}); run the same "
                f"command to go on; why stands in Ray's logs on the head node"
            ) from error
        finally:
            ray.shutdown()


def keep_quiet() -> ray.data.DataContext:
    """Leave the terminal to us, once a dataset is made: before, Ray Data sets it up anew."""
    context: ray.data.DataContext = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    logger.setLevel(logging.WARNING)
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):  # the others write Ray's own logs
            handler.setLevel(logging.CRITICAL)
    return context


def list_nodes() -> list[Node]:
    """The machines that are there now."""
    return [
        Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    ]


def count_engines(nodes: Sequence[Node], share: Share) -> int:
    """How many engines fit; FileError if there is not even one that does, which would wait for
    ever."""
    room = sum(_count_on(node, share) for node in nodes)
    if not room:
        most = max((node.cpus for node in nodes), default=0.0)
        gpus = max((node.gpus for node in nodes), default=0.0)
        wanted = f"{share.cpus} cores" + (f" and {share.gpus:g} GPUs" if share.gpus else "")
        raise FileError(
            f"no node has {wanted} for an engine, the largest has {most:g} cores and {gpus:g} "
            "GPUs; say --cpus, or join larger nodes"
        )
    return room


def _count_on(node: Node, share: Share) -> int:
    by_cpus = int(node.cpus // share.cpus)
    return min(by_cpus, int(node.gpus // share.gpus)) if share.gpus else by_cpus
