"""Part: the card, the processor and the versions of all libraries that matter."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.gpu import card
from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.processor import processor
from service.processors import usable_processors

PACKAGES = ("torch", "numpy", "onnxruntime", "safetensors", "scipy", "torchdiffeq", "torchode", "fastapi", "pydantic")
CARD = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "temperature.gpu")


def environment(check: Check, report: Report) -> None:
    """Report where the check runs."""
    report.fact("device", check.device)
    report.fact("processor", processor())
    report.fact("usable processors", usable_processors())
    report.fact("Python", platform.python_version())
    for package in PACKAGES:
        report.fact(package, installed(package))
    report.fact("CUDA of torch", torch.version.cuda)
    report.fact("cuDNN", torch.backends.cudnn.version() if check.device == "cuda" else None)  # type: ignore[no-untyped-call]
    if check.device == "cuda":
        report.fact("torch's name of the card", torch.cuda.get_device_name())
        report.fact("compute capability", ".".join(map(str, torch.cuda.get_device_capability())))
        for name, value in zip(CARD, card.query(*CARD), strict=True):
            report.fact(name, value)


def installed(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
