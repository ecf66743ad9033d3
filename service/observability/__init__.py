"""What an operator sees: metrics, logs, the trace of a request."""
