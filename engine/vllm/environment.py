"""The process environment that vLLM, torch and the tokenizer need to find.

They read it when they are imported, and the engine's process inherits it.
"""

import os

from engine.vllm.child import SERVICE_PID


def prepare_environment(engine_threads: int) -> None:
    """Set what must be set before vLLM is imported; what the operator has set stays."""
    threads = str(engine_threads)
    for name, value in {
        # One process for engine and worker instead of two: half the start, and vLLM
        # keeps no core back for itself. It then leaves the thread count to OpenMP.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        # A thread that waits sleeps: spinning ones would keep HTTP from the cores they share.
        "OMP_WAIT_POLICY": "PASSIVE",
        # oneDNN keeps four primitives, 0.3 MiB each, for every number of tokens a step has
        # had: with its 1,024 places memory grows for hours, and is no faster.
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
        # One thread of Rust per tokenizing thread: the other cores belong to the engine.
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_PLUGINS": "",
        # A step's results are handed out so many at a time: other requests come in between.
        "VLLM_V1_OUTPUT_PROC_CHUNK_SIZE": "8",
        # Nobody is told what runs here, and nothing is looked for on the network.
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Our own handler and level serve vLLM too, in its process as well.
        "VLLM_CONFIGURE_LOGGING": "0",
        # Their warnings are about choices made here on purpose.
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }.items():
        os.environ.setdefault(name, value)
    os.environ[SERVICE_PID] = str(os.getpid())
