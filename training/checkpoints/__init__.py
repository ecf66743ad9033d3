"""A trained model becomes a checkpoint that keeps the contract, and is read back."""
