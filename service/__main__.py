"""``python -m service`` serves, or runs another command."""

import signal
import sys


def main() -> None:
    """Run the given command. We import only the modules that it needs, because the server takes long to import."""
    match sys.argv[1:]:
        case ["predict", *arguments]:
            from service.cli import predict  # noqa: PLC0415

            sys.exit(predict.main(arguments))
        case ["config" | "key" as name, *arguments]:
            from service.cli.commands import COMMANDS  # noqa: PLC0415
            from service.settings import read_command_line  # noqa: PLC0415

            read_command_line(COMMANDS[name], arguments)
        case _:
            # Without a handler, the first process of a container would ignore these signals while it imports.
            for sig in (signal.SIGINT, signal.SIGTERM):
                signal.signal(sig, lambda *_: sys.exit(0))
            from service.server import main as server  # noqa: PLC0415

            server.main()


if __name__ == "__main__":
    main()
