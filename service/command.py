"""The command: checks everything that can be checked in a second, then starts.

The engine's process imports this module again, as `__mp_main__`.
"""

import sys

from service.exit_codes import ExitCode
from service.settings import SettingsError, read_settings


def main(arguments: list[str]) -> ExitCode:
    """Run the service; what is imported late is slow, and a wrong setting needs none of it."""
    from contract.manifest import CheckpointError
    from service.checkpoint import load_checkpoints
    from service.environment import prepare_environment
    from service.keys import ApiKeys, KeyFormatError
    from service.logs import configure_logs
    from service.security import ExposureError, check_exposure

    try:
        settings = read_settings(arguments)
        keys = ApiKeys.read(settings.api_key_hashes, settings.api_key_file)
        check_exposure(settings.host, keys, allow_no_key=settings.allow_no_key)
        checkpoints = load_checkpoints(settings.checkpoint)
        configure_logs(settings.log_level)
        prepare_environment(settings)
        from service.server import bind_socket, serve

        serve(settings, checkpoints, keys, bind_socket(settings))
    except (SettingsError, KeyFormatError, ExposureError, CheckpointError) as error:
        print(f"service: {error}", file=sys.stderr)
        return ExitCode.REFUSED


if __name__ == "__mp_main__":
    from service.child import prepare_child

    prepare_child()
    import service.kernels  # noqa: F401  seconds: vLLM comes with it

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
