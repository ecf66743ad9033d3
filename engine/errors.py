"""What an engine can fail with, whatever runtime is behind it. No message quotes an input."""


class EngineError(Exception):
    """Base of them all."""


class EngineFailed(EngineError):
    """The engine lives but could not compute this item."""


class EngineDead(EngineError):
    """The engine will never compute anything again."""


class EngineRefused(EngineError):
    """The engine cannot run as it is asked to; the message is one line with the remedy."""
