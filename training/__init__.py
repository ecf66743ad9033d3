"""Offline: data → LoRA and losses → merge → evaluate → checkpoint."""
