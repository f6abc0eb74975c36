"""The precision: the faster of two types, and a choice that does not change the random numbers of a fit."""

import re

import torch

from tests.training.fits import CPU
from training.precision import choose


def test_a_processor_is_timed_in_both_types() -> None:
    decision = choose(CPU)
    assert decision.precision in ("float32", "bfloat16")
    assert " ms in float32" in decision.reason
    assert " ms in bfloat16" in decision.reason


def test_the_faster_type_is_chosen() -> None:
    decision = choose(CPU)
    times = {name: float(time) for time, name in re.findall(r"([\d.]+) ms in (\w+)", decision.reason)}
    assert times[decision.precision] == min(times.values())


def test_the_choice_does_not_use_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    choose(CPU)
    assert torch.equal(torch.rand(4), expected)
