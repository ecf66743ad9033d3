"""The online side: HTTP → admission → engine → prediction."""

__version__ = "1.0.0"
"""The same as in pyproject.toml; a test holds them together."""
