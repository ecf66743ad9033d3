"""Token ids → logits: the engines that compute a prefill, and what they read of a checkpoint."""
