"""The losses: pure functions of features and logits, and the objective made of them."""
