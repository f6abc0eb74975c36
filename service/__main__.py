"""``python -m service`` serves, or runs another command. After an installation of the wheel its name is ``odenet``."""

import os
import signal
import sys

from service import PROGRAM, VERSION
from service.cli.errors import ending_with_the_reader

HELP = f"""\
usage: {PROGRAM} [serve] [SETTING ...]    start the service
       {PROGRAM} predict FILE ...         print the digits in files
       {PROGRAM} config [SETTING ...]     print the settings with which the service would run
       {PROGRAM} key NAME ...             make an API key
       {PROGRAM} completion               print a script that lets a shell complete arguments
       {PROGRAM} --version                print the version

examples:
       {PROGRAM} serve --port 8080
       {PROGRAM} predict seven.png --tolerance 1e-3

Each command has --help. The settings, which are also environment variables ODENET_*:
"""


def main() -> None:
    """Run the given command. We import only the modules that it needs, because the server takes long to import."""
    match sys.argv[1:]:
        case ["predict", *arguments]:
            from service.cli import predict  # noqa: PLC0415

            with ending_with_the_reader():
                sys.exit(predict.main(arguments))
        case ["config" | "key" | "completion" as name, *arguments]:
            from service.cli.commands import COMMANDS  # noqa: PLC0415
            from service.settings import read_command_line  # noqa: PLC0415

            with ending_with_the_reader():
                read_command_line(COMMANDS[name], arguments)
        case ["--version"]:
            print(f"odenet {VERSION}")  # noqa: T201
        case ["--help" | "-h", *_] | ["serve", "--help" | "-h", *_]:
            from service.settings import Settings, read_command_line  # noqa: PLC0415

            with ending_with_the_reader():
                print(HELP)  # noqa: T201
                read_command_line(Settings, ["--help"])
        case [word, *_] if word != "serve" and not word.startswith("-"):
            sys.exit(f"error: {word} is no command; the commands are serve, predict, config, key, completion")
        case words:
            sys.argv[1:] = words[words[:1] == ["serve"] :]  # the processes of the service read their settings here
            # Without a handler, the first process of a container would ignore these signals while it imports. The
            # handler must not raise an exception: Python drops an exception inside a callback of the import system, and
            # an exception while the event loop starts would become the failure that the loop is already running.
            for sig in (signal.SIGINT, signal.SIGTERM):
                signal.signal(sig, lambda *_: os._exit(0))
            from service.server import main as server  # noqa: PLC0415

            server.main()


if __name__ == "__main__":
    main()
