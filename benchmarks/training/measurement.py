"""What one run of the training benchmark is and measures; it imports nothing large."""

from dataclasses import dataclass, field
from typing import Literal, get_args

System = Literal["ours", "reference", "reference-tuned"]
SYSTEMS: tuple[System, ...] = get_args(System)


@dataclass(kw_only=True)
class Measurement:
    """One run. Its first epoch warms up (caches fill, graphs are compiled) and is left out."""

    system: System
    items: int
    """Examples of an epoch."""
    prompt_tokens: int
    """Tokens of their prompts: no padding, no appended labels."""
    epoch_s: list[float] = field(default_factory=list)
    epoch_cpu_s: list[float] = field(default_factory=list)
    """Processor time of this process, all threads."""
    bytes_before: int = 0
    """Peak memory before anything was loaded: Python and its libraries; 0 on a GPU."""
    peak_bytes: int = 0
    """Peak memory until the end of the last epoch, resident; on a GPU that of its tensors."""
