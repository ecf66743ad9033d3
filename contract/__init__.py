"""What a checkpoint promises to a server: labels, inputs, prompts, manifest.

Both sides of the house import this package and never each other. It needs
only the standard library and pydantic.
"""
