"""Imports the application in the process that forks the workers.

The garbage collector writes into the objects that it scans, and a process has a copy of its own of each page of memory
that it writes. `gc.freeze` keeps the collector away from the objects that exist before the forks. So the workers share
these objects, and start and stop sooner. The collector runs once before, so that no garbage of the imports is kept.
"""

import gc

import service.app  # noqa: F401 (the import is the purpose)

gc.collect()
gc.freeze()
