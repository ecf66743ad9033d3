"""The protocols of others, spoken over the same classifier: one module for each."""
