"""Connections that last: streams of items, and live dialogues."""
