"""Tests that need a CUDA device; `make test-gpu` runs them.

They use no fixture of a conftest.py, so that they also run where only torch and pytest are installed.
"""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import pytest
import torch

from models import artifact as artifacts
from models.backends.answer import Answer
from models.backends.protocol import classify
from models.backends.torch import TorchBackend, load_network
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from service.engine.model import LARGEST_BATCH
from service.hosting.loader import load
from service.settings import Settings
from tests.models.backends import tracking
from tests.models.backends.tracking import TrackedFlight
from tests.serving import SHIPPED

pytestmark = pytest.mark.gpu

DIGITS = tracking.DIGITS[:24]
DEVIATION = 1e-3
"""The greatest difference of two logits, which other kernels round differently."""

SETTINGS = Settings(backend="torch", device="cuda")


@dataclass
class Backends:
    """The shipped network on both devices."""

    cpu: TorchBackend
    cuda: TorchBackend


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    """Both backends, in full float32. torch's default for convolutions is TF32."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    artifact = artifacts.read(SHIPPED)
    yield Backends(TorchBackend(load_network(artifact)), TorchBackend(load_network(artifact), "cuda"))
    torch.backends.cudnn.allow_tf32 = before


def settings(method: str) -> SolverSettings:
    if METHODS[method].adaptive:
        return SolverSettings.adaptive(method, 1e-2)
    return SolverSettings(method=method, steps=3)


@pytest.mark.parametrize("method", METHODS)
def test_cuda_classifies_as_the_cpu_does(backends: Backends, method: str) -> None:
    expected, answer = (classify(backend, DIGITS, settings(method)) for backend in (backends.cpu, backends.cuda))
    assert np.abs(answer.logits - expected.logits).max() < DEVIATION
    assert answer.digits.tolist() == expected.digits.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_come_and_go_get_the_answers_of_the_cpu(backends: Backends, method: str) -> None:
    """Rows join before and after a step, and a dropped row leaves a gap. So buckets of 1, 2, 4 and 8 rows are used."""
    solver = settings(method)
    expected = classify(backends.cpu, DIGITS[:8], solver)
    flight = TrackedFlight(backends.cuda, method, 8)
    flight.join(range(5), range(5), [solver] * 5)
    flight.drop([1])
    flight.attempt()
    flight.join([5, 6, 7], [5, 6, 7], [solver] * 3)
    answers = flight.run_to_end()
    assert answers.keys() == {0, 2, 3, 4, 5, 6, 7}
    for digit, answer in answers.items():
        assert np.abs(answer.logits[0] - expected.logits[digit]).max() < DEVIATION
        assert answer.nfe[0] == expected.nfe[digit]


def test_a_row_resumes_from_its_state_at_the_start(backends: Backends) -> None:
    loose, tight = SolverSettings.adaptive("heun2", 1.0), SolverSettings.adaptive("bosh3", 1e-3)
    expected = classify(backends.cpu, DIGITS[:4], tight)
    first = backends.cuda.flight("heun2", 4)
    first.join(DIGITS[:4], [loose.arguments] * 4, [None] * 4, keep=True)
    first.attempt()
    first.drop([0])  # the last row moves into the gap, with its kept state
    second = TrackedFlight(backends.cuda, "bosh3", 4)
    second.flight.resume(first.starts([0, 1, 2]), [tight.arguments] * 3, [None] * 3)
    second.id_of_slot += [3, 1, 2]
    for digit, answer in second.run_to_end().items():
        assert np.abs(answer.logits[0] - expected.logits[digit]).max() < DEVIATION


def test_a_loaded_model_captures_no_graph_while_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(SHIPPED, SETTINGS)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", None)  # a capture is now an error
    for method in METHODS:
        flight = TrackedFlight(model.backend, method, 2 * LARGEST_BATCH["cuda"])
        for rows in (1, 3, 100, 2 * LARGEST_BATCH["cuda"]):
            flight.join(range(rows), range(rows), [settings(method)] * rows)
            assert len(flight.run_to_end()) >= rows


def test_replaced_models_leave_no_memory_behind() -> None:
    reserved = []
    for _ in range(4):
        model = load(SHIPPED, SETTINGS)
        del model
        gc.collect()
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] <= reserved[1], "the first models load kernels and make the pool of the graphs"


def test_graphs_are_captured_while_another_thread_computes(backends: Backends) -> None:
    solver, answers = settings("heun2"), list[Answer]()
    expected = classify(backends.cpu, DIGITS, solver)
    ended = Event()

    def compute() -> None:
        flight = TrackedFlight(backends.cuda, "heun2", len(DIGITS))
        while not ended.is_set():
            flight.join(range(len(DIGITS)), range(len(DIGITS)), [solver] * len(DIGITS))
            answers.extend(flight.run_to_end()[number] for number in range(len(DIGITS)))

    with ThreadPoolExecutor(1) as other:
        computing = other.submit(compute)
        try:
            load(SHIPPED, SETTINGS)
        finally:
            ended.set()
        computing.result()
    assert answers
    for number, answer in enumerate(answers):
        assert np.abs(answer.logits[0] - expected.logits[number % len(DIGITS)]).max() < DEVIATION


def test_the_clock_waits_for_the_device(backends: Backends) -> None:
    x = torch.randn(8192, 8192, device="cuda")
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    before = backends.cuda.clock()
    began.record()
    for _ in range(10):
        x = torch.mm(x, x).clamp(-1, 1)
    ended.record()
    seconds = backends.cuda.clock() - before
    assert ended.query(), "the device has computed"  # type: ignore[no-untyped-call]
    assert seconds >= began.elapsed_time(ended) / 1e3
