"""The Butcher tableau: the coefficients that define an explicit Runge-Kutta method."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit Runge-Kutta method.

    Stage i evaluates ``k_i = f(t + c_i h, z + h sum_j a_ij k_j)``; the step is ``z' = z + h sum_i b_i k_i``.
    See Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I*, section II.1.

    Attributes:
        name: the name under which callers request the method.
        order: the order of the step's result.
        a: the strictly lower triangle; row i has i entries.
        b: the weights of the result.
        c: the nodes, each in [0, 1].
        b_embedded: the weights of the embedded result. The difference between the two results estimates the local
            error. None for a method without an embedded result, which takes a fixed number of steps.
        embedded_order: the order of the embedded result; 0 if there is none.
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
        """Whether the method estimates its own error and therefore can choose its step size."""
        return self.b_embedded is not None

    @property
    def fsal(self) -> bool:
        """Whether the last stage equals the first stage of the next step ("first same as last").

        The next step then needs no evaluation for its first stage.
        """
        return self.c[-1] == 1 and (*self.a[-1], 0) == self.b

    @property
    def error_weights(self) -> tuple[float, ...]:
        """The weights ``b - b_embedded`` of the local error estimate; empty for a fixed-step method."""
        if self.b_embedded is None:
            return ()
        return tuple(b - e for b, e in zip(self.b, self.b_embedded, strict=True))

    @property
    def evaluations_to_start(self) -> int:
        """The number of evaluations of f before the first step: an FSAL method needs its first stage as an input."""
        return 1 if self.fsal else 0

    @property
    def evaluations_per_step(self) -> int:
        """The number of evaluations of f in one attempted step, accepted or rejected."""
        return self.stages - 1 if self.fsal else self.stages

    def evaluations(self, attempts: Any) -> Any:
        """The number of evaluations of f in a solve.

        Args:
            attempts: the number of attempted steps: one number, or an integer array.

        Returns:
            One number or an array, like the argument.
        """
        return self.evaluations_to_start + attempts * self.evaluations_per_step

    @property
    def least_evaluations(self) -> int:
        """The number of evaluations of f in the shortest solve, which has one step."""
        return int(self.evaluations(1))

    @property
    def error_exponent(self) -> float:
        """The local error estimate is proportional to this power of h: one more than the lower order of the pair."""
        return min(self.order, self.embedded_order) + 1
