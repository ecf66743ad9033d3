"""A dialogue labelled while it is spoken, over a WebSocket."""
