"""What runs a network: onnxruntime, without torch, or torch."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime tells its maker of each start and each model, unless it finds this when it is imported."""
