"""Chooses the floating type with which a device fits fastest.

bfloat16 has half the bytes of float32. A GPU, or a processor with AVX-512-BF16 or AMX, multiplies bfloat16 faster than
float32. Any other processor emulates bfloat16 at a tenth of the speed of float32 or less.
"""

import time
from typing import Literal, NamedTuple

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]

ROWS = 64
PASSES = 5


class Decision(NamedTuple):
    """A precision, and the reason for it as a clause without a full stop."""

    precision: Precision
    reason: str


def choose(device: torch.device) -> Decision:
    """Choose the faster of float32 and bfloat16.

    A CUDA device reports whether it computes in bfloat16. On a CPU we time one step of a small convolutional network in
    both types, which takes less than a second. We measure processor time, because other programs hardly change it.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Decision("bfloat16", "the device computes in bfloat16")
        return Decision("float32", "the device does not compute in bfloat16")
    seconds: dict[Precision, float] = {precision: _time_step(precision) for precision in ("float32", "bfloat16")}
    times = ", ".join(f"{1000 * value:.1f} ms in {precision}" for precision, value in seconds.items())
    return Decision(min(seconds, key=lambda precision: seconds[precision]), f"a step of convolutions takes {times}")


def _time_step(precision: Precision) -> float:
    """The processor seconds of a forward and a backward pass after a warm-up."""
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        images = torch.randn(ROWS, 64, 6, 6)
    least = float("inf")
    for _ in range(1 + PASSES):  # the first pass is a warm-up: it is slower than the others, so it never is the least
        started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = network(images).float().square().mean()
        loss.backward()
        least = min(least, time.process_time() - started)
    return least
