"""More than one process: the first runs the command, the others take part in its fits.

torchrun starts the same command in every process. Were each of them to read, decide, write
and print, they would race for files and could decide differently. So the first alone does,
and calls the others for what needs all of them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate.utils import (
    disable_fsdp_ram_efficient_loading,
    enable_fsdp_ram_efficient_loading,
)

T = TypeVar("T")

# The others may wait for a fold's report or for vLLM's proof; torchrun ends them if the
# first process dies.
_PATIENCE = timedelta(days=30)
_TIMEOUT = timedelta(minutes=30)

_calls: dist.ProcessGroup | None = None


def count_processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that reads, writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def run_in_first(command: Callable[[], None]) -> None:
    """Run a command in the first process; the others follow its `call_all` until it is done."""
    global _calls
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo",
                            timeout=_TIMEOUT)  # fmt: skip
    _calls = dist.new_group(backend="gloo", timeout=_PATIENCE)
    if is_first():
        try:
            command()
        finally:
            if _calls is not None:  # else a call failed, and torchrun ends the others in it
                _share(None, _calls)
    else:
        while call := _share(None, _calls):
            function, arguments = call
            function(*arguments)
    _calls = None
    dist.destroy_process_group()


def call_all(function: Callable[..., T], *arguments: Any) -> T:
    """Call a module's function in every process at once; return what it returns in this one."""
    global _calls
    others = _calls
    if others is not None:
        _share((function, arguments), others)
    _calls = None  # until the call is through nobody listens
    result = function(*arguments)
    _calls = others
    return result


def share(value: T) -> T:
    """The first process's value; every process must ask for it."""
    return _share(value, None) if dist.is_available() and dist.is_initialized() else value


@contextmanager
def load_in_first(is_sharded: bool) -> Iterator[None]:
    """While weights are to be sharded, the first process of a machine alone loads them.

    transformers gives the others weights without memory behind them, and accelerate, told so
    by `fsdp_config.cpu_ram_efficient_loading`, gives each process its share of the first's.
    """
    if is_sharded:
        enable_fsdp_ram_efficient_loading()
    try:
        yield
    finally:
        if is_sharded:  # a fit that is not sharded may follow
            disable_fsdp_ram_efficient_loading()


def leave_out_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a program of its own, which must not look for the other processes."""
    theirs = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
    return {name: value for name, value in environment.items() if not name.startswith(theirs)}


def _share(value: Any, group: dist.ProcessGroup | None) -> Any:
    box = [value]
    dist.broadcast_object_list(box, src=0, group=group)
    return box[0]
