"""The online side: HTTP → admission → vLLM → prediction."""

__version__ = "1.0.0"
"""The same as in pyproject.toml; a test holds them together."""
