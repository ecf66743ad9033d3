"""The online side: HTTP → admission → vLLM → prediction."""
