"""The backends that run a network: onnxruntime, which works without torch, and torch."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime sends telemetry to its vendor at each start and for each model, unless this variable is set when it is
imported."""
