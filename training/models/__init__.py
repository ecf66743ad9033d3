"""The backbone with its head: loading, adapters, features, scores."""
