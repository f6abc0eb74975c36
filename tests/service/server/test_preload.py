"""The process of which the workers are forks keeps the application from the garbage collector."""

import subprocess
import sys

from tests.serving import ROOT

PROGRAM = """
import gc
from service.server.worker import forks
with forks.Pool(1) as pool:
    print(pool.apply(gc.get_freeze_count))
"""


def test_the_garbage_collector_of_a_worker_does_not_scan_the_application() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000
