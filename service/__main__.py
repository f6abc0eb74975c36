"""``python -m service``: serve, or do what another command says."""

import signal
import sys


def main() -> None:
    """Do what the command line says, with no more imported than that needs: what serves takes long to import."""
    match sys.argv[1:]:
        case ["predict", *arguments]:
            from service.cli import predict  # noqa: PLC0415

            sys.exit(predict.main(arguments))
        case ["config" | "key" as name, *arguments]:
            from service.cli.commands import COMMANDS  # noqa: PLC0415
            from service.settings import read_command_line  # noqa: PLC0415

            read_command_line(COMMANDS[name], arguments)
        case _:
            for sig in (signal.SIGINT, signal.SIGTERM):  # until there is more to end; in a container none has a default
                signal.signal(sig, lambda *_: sys.exit(0))
            from service.server import main as server  # noqa: PLC0415

            server.main()


if __name__ == "__main__":
    main()
