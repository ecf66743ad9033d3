"""The loaded checkpoints: their engines and queues, and which of them a request means."""
