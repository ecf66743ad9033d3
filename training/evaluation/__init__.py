"""Measuring: held-out answers of cross-validation, finished checkpoints, ablations."""
