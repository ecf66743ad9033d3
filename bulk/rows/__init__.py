"""The heart, pure and without Ray: a batch of rows becomes the same rows with their labels."""
