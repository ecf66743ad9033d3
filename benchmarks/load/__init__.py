"""Load: connections, ways to send requests, texts to send, and figures of what came back."""
