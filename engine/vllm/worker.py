"""What vLLM imports in the engine's process, whatever program that process belongs to.

A spawned process imports its parent's main module: `service.command` prepares it there. The main
module of a worker of Ray is Ray's own, and nobody else would.
"""

import engine.vllm.kernels  # noqa: F401
from engine.vllm.child import prepare_child

prepare_child()


class Extension:
    """Adds nothing to vLLM's worker: that vLLM looks it up is what imports this module."""
