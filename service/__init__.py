"""Online: an HTTP service over fitted artifacts. Knows `models`, never `training`."""

VERSION = "0.1.0"

PROGRAM = "python -m service" if __name__ == "service" else "odenet"
"""How a shell starts this program: from the root of the repository, or after an installation of the wheel."""
