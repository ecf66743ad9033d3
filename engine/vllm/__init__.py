"""vLLM behind the engine protocol: the one folder that imports it."""
