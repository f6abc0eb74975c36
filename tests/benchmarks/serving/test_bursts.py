"""Arrivals in bursts: their rate and burstiness, and the replay of recorded arrivals."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.bursts import Burstiness, burstiness, bursts, recorded
from benchmarks.serving.plan import Phase, Replay, arrivals


def test_bursts_have_the_mean_rate_in_each_run() -> None:
    for seed in range(5):
        times = bursts(rate=400, seconds=10, seed=seed)
        assert len(times) == pytest.approx(4000, rel=0.1)
        assert (np.diff(times) >= 0).all()
        assert 0 <= times[0] < times[-1] < 10


def test_bursts_vary_ten_times_more_than_a_poisson_process() -> None:
    found = np.mean([burstiness(bursts(400, 60, seed)) for seed in range(5)], axis=0)
    poisson = burstiness(arrivals((Phase(400, 60),), seed=0))
    assert poisson.variation == pytest.approx(1, rel=0.1)
    assert Burstiness(*found).variation > 10
    assert Burstiness(*found).peak > 5
    assert poisson.peak < 2


def test_the_same_seed_has_the_same_bursts() -> None:
    assert np.array_equal(bursts(100, 5, seed=3), bursts(100, 5, seed=3))
    assert not np.array_equal(bursts(100, 5, seed=3), bursts(100, 5, seed=4))


def test_recorded_arrivals_start_at_zero_in_order(tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text("100.5\n100.0\n102.25\n")
    times = recorded(path)
    assert times.tolist() == [0, 0.5, 2.25]
    assert Replay(times, length=3.0).arrivals(seed=1) is times


@pytest.mark.parametrize("text", ["1.0\nnan\n", "1.0\nnoon\n"])
def test_a_file_without_times_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"one time in seconds per line|could not convert"):
        recorded(path)


@pytest.mark.parametrize("text", ["", "1.0\n2.0\n", "1.0\n1.0\n1.0\n"])
def test_a_recording_that_is_too_short_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"at least three times that are not all equal, but has {len(text.split())}"):
        recorded(path)
