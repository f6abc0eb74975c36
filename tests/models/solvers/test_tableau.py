"""The coefficients of every method, compared with the theory of rooted trees and with SciPy's tables."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.integrate import RK23, RK45

from models.solvers.methods import BOSH3, DOPRI5, METHODS
from models.solvers.tableau import Tableau

Tree: TypeAlias = tuple["Tree", ...]
"""A rooted tree, written as the tuple of the subtrees of its root; ``()`` is a single node."""

Vector: TypeAlias = NDArray[np.float64]

FIXED = {"euler", "midpoint", "rk4"}
FSAL = {"bosh3", "dopri5", "tsit5"}

every_method = pytest.mark.parametrize("tableau", METHODS.values(), ids=list(METHODS))
every_adaptive_method = pytest.mark.parametrize(
    "tableau", [pytest.param(m, id=m.name) for m in METHODS.values() if m.adaptive]
)


def nodes(tree: Tree) -> int:
    """The number of nodes of a tree, which equals the order of its order condition."""
    return 1 + sum(map(nodes, tree))


def trees(order: int) -> list[Tree]:
    """Every rooted tree with the given number of nodes."""
    smaller = [tree for n in range(1, order) for tree in trees(n)]

    def forests(left: int, begin: int) -> Iterator[Tree]:
        if left == 0:
            yield ()
        for index in range(begin, len(smaller)):
            if (size := nodes(smaller[index])) <= left:
                yield from ((smaller[index], *others) for others in forests(left - size, index))

    return list(forests(order - 1, 0))


def density(tree: Tree) -> int:
    """The product over all nodes of the size of their subtrees. The order condition requires the weight 1 / density."""
    return nodes(tree) * math.prod(map(density, tree))


def matrix(tableau: Tableau) -> Vector:
    """The triangle of the tableau, filled with zeros to a square matrix."""
    return np.array([[*row, *[0.0] * (tableau.stages - len(row))] for row in tableau.a])


def stage_weights(a: Vector, tree: Tree) -> Vector:
    """The weight of the tree's elementary differential in each stage."""
    product = np.ones(len(a))
    for child in tree:
        product *= a @ stage_weights(a, child)
    return product


def residual(tableau: Tableau, weights: Sequence[float], tree: Tree) -> float:
    """The residual of the order condition of a tree (Hairer, Norsett, Wanner I, theorem II.2.13)."""
    return abs(float(np.dot(weights, stage_weights(matrix(tableau), tree))) - 1 / density(tree))


def order_of(tableau: Tableau, weights: Sequence[float]) -> int:
    """The greatest order up to which the weights satisfy every order condition."""
    order = 0
    while all(residual(tableau, weights, tree) < 1e-13 for tree in trees(order + 1)):
        order += 1
    return order


def test_the_number_of_rooted_trees_agrees_with_the_literature() -> None:
    assert [len(trees(order)) for order in range(1, 7)] == [1, 1, 2, 4, 9, 20]
    assert sum(len(trees(order)) for order in range(1, 6)) == 17


def test_methods_are_listed_under_their_names() -> None:
    assert {name: tableau.name for name, tableau in METHODS.items()} == {name: name for name in METHODS}
    assert set(METHODS) == FIXED | FSAL | {"heun2"}


@every_method
def test_every_stage_depends_only_on_earlier_stages(tableau: Tableau) -> None:
    assert [len(row) for row in tableau.a] == list(range(tableau.stages))
    assert len(tableau.c) == tableau.stages


@every_method
def test_rows_of_a_sum_to_the_nodes(tableau: Tableau) -> None:
    assert_allclose(matrix(tableau).sum(1), tableau.c, rtol=0, atol=1e-14)


@every_method
def test_nodes_start_at_0_and_lie_within_the_step(tableau: Tableau) -> None:
    assert tableau.c[0] == 0
    assert all(0 <= c <= 1 for c in tableau.c)


@every_method
def test_weights_sum_to_one(tableau: Tableau) -> None:
    assert sum(tableau.b) == pytest.approx(1, abs=1e-15)


@every_method
def test_result_has_exactly_the_stated_order(tableau: Tableau) -> None:
    assert order_of(tableau, tableau.b) == tableau.order


@every_adaptive_method
def test_embedded_result_has_exactly_the_stated_order(tableau: Tableau) -> None:
    assert tableau.b_embedded is not None
    assert order_of(tableau, tableau.b_embedded) == tableau.embedded_order


@every_adaptive_method
def test_error_estimate_vanishes_exactly_up_to_the_lower_order_of_the_pair(tableau: Tableau) -> None:
    assert sum(tableau.error_weights) == pytest.approx(0, abs=1e-15)
    assert tableau.error_exponent == min(tableau.order, tableau.embedded_order) + 1
    estimates = {
        order: max(abs(np.dot(tableau.error_weights, stage_weights(matrix(tableau), tree))) for tree in trees(order))
        for order in range(1, int(tableau.error_exponent) + 1)
    }
    significant = [order for order, estimate in estimates.items() if estimate > 1e-13]
    assert significant == [tableau.error_exponent]


@every_method
def test_only_embedded_pairs_are_adaptive(tableau: Tableau) -> None:
    assert tableau.adaptive == (tableau.name not in FIXED)
    assert len(tableau.error_weights) == (tableau.stages if tableau.adaptive else 0)


@every_method
def test_only_methods_whose_last_stage_is_reused_are_fsal(tableau: Tableau) -> None:
    assert tableau.fsal == (tableau.name in FSAL)


@pytest.mark.parametrize(
    ("method", "to_start", "per_step"),
    [
        ("euler", 0, 1),
        ("midpoint", 0, 2),
        ("rk4", 0, 4),
        ("heun2", 0, 2),
        ("bosh3", 1, 3),
        ("dopri5", 1, 6),
        ("tsit5", 1, 6),
    ],
)
def test_the_number_of_evaluations_of_a_step(method: str, to_start: int, per_step: int) -> None:
    assert METHODS[method].evaluations_to_start == to_start
    assert METHODS[method].evaluations_per_step == per_step


@pytest.mark.parametrize(
    ("tableau", "scipys"), [pytest.param(BOSH3, RK23, id="bosh3"), pytest.param(DOPRI5, RK45, id="dopri5")]
)
def test_coefficients_agree_with_scipy(tableau: Tableau, scipys: Any) -> None:
    """SciPy's triangle does not contain the FSAL stage, and its error estimate has the opposite sign."""
    stages, (rows, columns) = scipys.n_stages, scipys.A.shape
    assert_allclose(matrix(tableau)[:rows, :columns], scipys.A, rtol=1e-15)
    assert_allclose(tableau.b[:stages], scipys.B, rtol=1e-15)
    assert_allclose(tableau.c[:stages], scipys.C, rtol=1e-15)
    assert_allclose(tableau.error_weights, -scipys.E, rtol=1e-13, atol=1e-16)
    assert tableau.order == scipys.order
    assert tableau.embedded_order == scipys.error_estimator_order
