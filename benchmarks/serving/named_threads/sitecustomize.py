"""Give each thread of Linux the name that Python has for it, so that `benchmarks.serving.threads` can read the name.

Python imports this module at its start if its folder is in PYTHONPATH. Python 3.14 and later name threads themselves.
"""

from contextlib import suppress
from pathlib import Path
from threading import Thread

_start = Thread.start


def _start_named(self: Thread) -> None:
    _start(self)
    with suppress(OSError):  # the thread has ended
        Path(f"/proc/self/task/{self.native_id}/comm").write_text(self.name)


Thread.start = _start_named  # type: ignore[method-assign]
