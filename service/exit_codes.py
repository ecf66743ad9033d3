"""How the process ends, for the supervisor that decides whether to start it again."""

import enum


class ExitCode(enum.IntEnum):
    DRAINED = 0
    CHECKED = 0
    """Settings, keys and checkpoints are in order; that was all that was asked."""
    START_FAILED = 1
    """An engine did not start or never answered."""
    REFUSED = 2
    """Something is wrong with settings, port, keys or checkpoints: starting again is no use."""
    ENGINE_DEAD = 3
    ENGINE_HANGS = 4
    """It lives and has failed canary after canary."""
