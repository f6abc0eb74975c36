"""The Butcher tableau: the coefficients that make an explicit Runge-Kutta method."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method, as its coefficients.

    Stage i evaluates ``k_i = f(t + c_i h, z + h sum_j a_ij k_j)``; the step is ``z' = z + h sum_i b_i k_i``.
    See Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I*, section II.1.

    Attributes:
        name: what callers ask for.
        order: the order of the step's result.
        a: the strictly lower triangle; row i has i entries.
        b: the weights of the result.
        c: the nodes, each in [0, 1].
        b_embedded: the weights of the embedded result whose difference from ``b`` estimates the local
            error, or None for a method that has none (and so takes a fixed number of steps).
        embedded_order: the order of the embedded result; 0 where there is none.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    b_embedded: tuple[float, ...] | None = None
    embedded_order: int = 0

    @property
    def stages(self) -> int:
        """The number of stages."""
        return len(self.b)

    @property
    def adaptive(self) -> bool:
        """Whether the method estimates its own error, and so can choose its step size."""
        return self.b_embedded is not None

    @property
    def fsal(self) -> bool:
        """First same as last: whether the last stage is the first of the next step, and so comes for free there."""
        return self.c[-1] == 1 and (*self.a[-1], 0) == self.b

    @property
    def error_weights(self) -> tuple[float, ...]:
        """The weights ``b - b_embedded`` of the local error estimate; empty for a fixed-step method."""
        if self.b_embedded is None:
            return ()
        return tuple(b - e for b, e in zip(self.b, self.b_embedded, strict=True))

    @property
    def evaluations_to_start(self) -> int:
        """Evaluations of f before the first step: an FSAL method must be given its first stage."""
        return 1 if self.fsal else 0

    @property
    def evaluations_per_step(self) -> int:
        """Evaluations of f that one attempted step costs, whether it is accepted or rejected."""
        return self.stages - 1 if self.fsal else self.stages

    def evaluations(self, attempts: Any) -> Any:
        """Evaluations of f of a solve of so many attempted steps: a number of them, or an array."""
        return self.evaluations_to_start + attempts * self.evaluations_per_step

    @property
    def least_evaluations(self) -> int:
        """Evaluations of f of the shortest solve, which is one step."""
        return int(self.evaluations(1))

    @property
    def error_exponent(self) -> float:
        """The power of h with which the local error estimate shrinks: one more than the lower order of the pair."""
        return min(self.order, self.embedded_order) + 1
