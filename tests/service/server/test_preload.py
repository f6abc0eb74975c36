"""The process that forks the workers keeps the application away from the garbage collector."""

import subprocess
import sys

from tests.serving import ROOT

FREEZE_COUNT = """
import gc
from {service}.server.worker import forks
with forks.Pool(1) as pool:
    print(pool.apply(gc.get_freeze_count))
"""
"""Prints how many objects the garbage collector of a worker does not scan. The service is a package of any name."""


def test_the_garbage_collector_of_a_worker_does_not_scan_the_application() -> None:
    program = FREEZE_COUNT.format(service="service")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000
