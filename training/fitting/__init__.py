"""One fine-tuning run: the Trainer, and what surrounds it."""
