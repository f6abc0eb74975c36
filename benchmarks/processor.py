"""The processor that a benchmark ran on."""

import platform
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def processor() -> str:
    """The processor's name (if Linux reports it), its architecture, and the widest vectors that torch uses."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return ", ".join(filter(None, (name, platform.machine(), torch.backends.cpu.get_cpu_capability())))
