"""The command: checks everything that can be checked in a second, then starts.

The engine's process imports this module again, as `__mp_main__`.
"""

import os
import sys
from typing import TYPE_CHECKING

from service.exit_codes import ExitCode
from service.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from engine.checkpoint import Checkpoint

_LOG_LEVEL = "NCAL_LOG_LEVEL"
"""By which the service tells the engine's process how much to log."""


def main(arguments: list[str]) -> ExitCode:
    """Run the service; what is imported late is slow, and a wrong setting needs none of it."""
    from contract.manifest import CheckpointError
    from engine.checkpoint import load_checkpoints
    from engine.choice import choose_engine, prepare_engine
    from engine.errors import EngineRefused
    from service.access.api_keys import ApiKeys, KeyFormatError
    from service.access.identification import ExposureError, check_admin, check_exposure
    from service.observability.logs import configure_logs
    from service.observability.tracing import start_tracing

    try:
        settings = read_settings(arguments)
        keys = ApiKeys.read(settings.api_key_hashes, settings.api_key_file)
        check_exposure(settings.host, keys, allow_no_key=settings.allow_no_key)
        check_admin(keys, admin_paths=settings.admin_paths)
        checkpoints = load_checkpoints(settings.checkpoint)
        _check_names(settings, checkpoints)
        if settings.check:
            print(f"in order: {', '.join(checkpoint.name for checkpoint in checkpoints)}")
            return ExitCode.CHECKED
        configure_logs(settings.log_level)
        tracing = start_tracing(os.environ)
        choice = choose_engine(settings.engine)
        # One thread of Rust per tokenizing thread: the other cores belong to the engine.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        prepare_engine(choice, settings.engine_threads)
        os.environ[_LOG_LEVEL] = settings.log_level
        from service.process import bind_socket, serve

        serve(settings, checkpoints, choice, keys, bind_socket(settings), tracing)
    except (SettingsError, KeyFormatError, ExposureError, CheckpointError, EngineRefused) as error:
        print(f"service: {error}", file=sys.stderr)
        return ExitCode.REFUSED


def _check_names(settings: Settings, checkpoints: "list[Checkpoint]") -> None:
    """Raise SettingsError when a setting names a checkpoint that is not given."""
    names = [name for each in checkpoints for name in (each.name, each.manifest.fingerprint)]
    for setting in ("default_model", "shadow_model"):
        if getattr(settings, setting) not in (None, *names):
            option = f"--{setting.replace('_', '-')} (or NCAL_{setting.upper()})"
            raise SettingsError(f"{option}: names no --checkpoint; there is: {', '.join(names)}")


if __name__ == "__mp_main__":
    from engine.vllm.child import prepare_child
    from service.observability.logs import configure_logs

    # Messages too: this process sees token ids and never a text, and why an engine did
    # not start must be known.
    configure_logs(os.environ[_LOG_LEVEL], with_messages=True)
    prepare_child()
    import engine.vllm.kernels  # noqa: F401  seconds: vLLM comes with it

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
