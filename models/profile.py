"""The measured trade-off of a network: what each solver setting costs, and how well it agrees with a tight solve."""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.solvers.settings import SolverSettings

SUFFICIENT_AGREEMENT = 0.999
"""A setting counts as accurate if it gives at least this share of images the same digit as the tight reference."""

EQUAL_COST = 1.01
"""Two methods are equally cheap if one needs at most this many times the evaluations of the other."""


class Frozen(BaseModel):
    """A part of a file of an artifact. It cannot be changed, and refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Distribution(Frozen):
    """The distribution of the number of function evaluations over the images of a split.

    Attributes:
        mean: the mean.
        p50: the median.
        p90: the 90th percentile.
        p99: the 99th percentile.
        max: the maximum.
    """

    mean: float
    p50: int
    p90: int
    p99: int
    max: int


class ProfilePoint(Frozen):
    """The measured accuracy and cost of one solver setting.

    Attributes:
        solver: the setting.
        error: the share of images that are classified wrongly, 0..1.
        agreement: the share of images with the same digit as the tight reference, 0..1.
        logit_deviation: the greatest absolute difference between the logits of an image and those of the tight
            reference, averaged over the images.
        nfe: the number of function evaluations per image.
        rejected: the mean number of rejected steps per image.
        unconverged: the number of images whose solve was given up before t = 1. The other fields include these images.
        milliseconds_per_row: the processor time per image for the whole answer, including stem and head, measured in
            batches on one thread. A short measurement is repeated, and the fastest pass counts.
    """

    solver: SolverSettings
    error: float
    agreement: float
    logit_deviation: float
    nfe: Distribution
    rejected: float
    unconverged: int
    milliseconds_per_row: float


class Rung(Frozen):
    """One solve of a ladder.

    Attributes:
        solver: the setting.
        threshold: an image whose margin is smaller than this is solved again by the next rung; None for the last rung.
            The margin is the difference between the two greatest logits.
    """

    solver: SolverSettings
    threshold: float | None = Field(default=None, gt=0)


class ThresholdPoint(Frozen):
    """What a ladder would give with another threshold, on the images that the ladder was measured on.

    Attributes:
        threshold: the threshold of the first rung.
        agreement: the share of the images with the same digit as the tight reference, 0..1.
        nfe: the mean number of function evaluations per image, over all of its solves.
    """

    threshold: float
    agreement: float
    nfe: float


class Ladder(Frozen):
    """Settings that solve an image one after another, until its margin is wide enough.

    Every image is solved by the first rung. Only the images with a small margin climb to the next rung.

    Attributes:
        rungs: from the loosest to the tightest, at least one.
        rows: the number of images that the ladder was measured on.
        agreement: the share of these images with the same digit as the tight reference, 0..1.
        bound: the lower confidence bound of the agreement for images of the same distribution (Clopper and Pearson
            1934); 1 for the reference itself.
        confidence: the confidence of the bound.
        escalated: the share of the images that were solved more than once, 0..1.
        nfe: the number of function evaluations per image, over all of its solves.
        curve: what other thresholds would give; empty for a ladder of one rung.
    """

    rungs: list[Rung] = Field(min_length=1)
    rows: int = Field(ge=1)
    agreement: float = Field(ge=0, le=1)
    bound: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    escalated: float = Field(ge=0, le=1)
    nfe: Distribution
    curve: list[ThresholdPoint] = []

    @model_validator(mode="after")
    def _every_rung_but_the_last_has_a_threshold(self) -> Self:
        if [rung.threshold is None for rung in self.rungs] != [False] * (len(self.rungs) - 1) + [True]:
            raise ValueError("rungs: every rung but the last one needs a threshold, and the last one must have none")
        return self

    def __str__(self) -> str:
        climbs = (f"; below a margin of {a.threshold:.3g}, {b.solver}" for a, b in pairwise(self.rungs))
        return "".join((str(self.rungs[0].solver), *climbs))


class Profile(Frozen):
    """The measured work-precision table.

    Attributes:
        split: the split of the data that the table was measured on.
        rows: the number of images in the split.
        batch_size: the number of images that were solved together.
        processor: the processor that the table was timed on. Only the times depend on the machine.
        reference: the tight setting that `agreement` and `logit_deviation` compare with.
        points: the rows of the table.
        ladders: from the cheapest to the dearest; each has a greater bound than the ladder before it. Empty in an
            artifact whose `Manifest.schema_version` is less than 5.
    """

    split: Literal["validation"]
    rows: int
    batch_size: int
    processor: str
    reference: SolverSettings
    points: list[ProfilePoint]
    ladders: list[Ladder] = []

    def ladder_for(self, agreement: float) -> Ladder | None:
        """The cheapest ladder whose bound is at least an agreement, 0..1; None if no ladder has this bound."""
        return next((ladder for ladder in self.ladders if ladder.bound >= agreement), None)

    def cheapest(self, methods: Collection[str]) -> SolverSettings:
        """The setting with the fewest evaluations whose agreement with the reference is at least 99.9 %.

        Among settings of equal cost we choose the one with the greatest agreement. Among those we choose the tightest
        tolerance, because it spends more evaluations on an image that needs them. If no setting reaches 99.9 %, we
        choose the setting with the greatest agreement, and among those the one with the most evaluations.

        Args:
            methods: the methods to choose from.
        """
        points = [point for point in self.points if point.solver.method in methods]
        agreeing = [p for p in points if p.agreement >= SUFFICIENT_AGREEMENT and p.unconverged == 0]
        if not agreeing:
            return max(points, key=lambda point: (point.agreement, point.nfe.mean)).solver
        return min(agreeing, key=lambda p: (p.nfe.mean, -p.agreement, p.solver.rtol or 0)).solver

    def method_for(self, tolerance: float) -> str:
        """The cheapest adaptive method at the measured tolerance nearest to the given tolerance.

        A method of low order is cheapest at a loose tolerance, and a method of high order at a tight tolerance. Methods
        whose evaluations differ by at most 1 % are equally cheap. Of these, we choose the one with the greatest
        agreement, and among those the one with the fewest evaluations.
        """
        nearest = min(_distance(point, tolerance) for point in self.points)
        points = [point for point in self.points if _distance(point, tolerance) == nearest]
        fewest = min(point.nfe.mean for point in points)
        cheap = [point for point in points if point.nfe.mean <= EQUAL_COST * fewest]
        return min(cheap, key=lambda point: (-point.agreement, point.nfe.mean)).solver.method

    def nearest(self, solver: SolverSettings) -> ProfilePoint:
        """The measured point of the same method that is nearest in tolerance, or in the number of steps."""
        points = [point for point in self.points if point.solver.method == solver.method]
        if solver.rtol is None or solver.atol is None:
            return min(points, key=lambda point: abs((point.solver.steps or 0) - (solver.steps or 0)))
        tolerance = max(solver.rtol, solver.atol)
        return min(points, key=lambda point: _distance(point, tolerance))

    def candidates(self, methods: Collection[str], agreement: float) -> list[ProfilePoint]:
        """The measured points from the tightest to the loosest; each is cheaper than the point before it.

        If several adaptive methods were measured at the same tolerance, only the one with the fewest evaluations is
        included.

        Args:
            methods: the methods to choose from: adaptive methods, or one fixed-step method.
            agreement: the least agreement with the tight reference that a point may have, 0..1.
        """
        points = [p for p in self.points if p.solver.method in methods and p.agreement >= agreement]
        candidates: list[ProfilePoint] = []
        for point in sorted(points, key=lambda p: (p.solver.rtol or 1 / (p.solver.steps or 1), p.nfe.mean)):
            if point.unconverged == 0 and (not candidates or point.nfe.mean < candidates[-1].nfe.mean):
                candidates.append(point)
        return candidates


def _distance(point: ProfilePoint, tolerance: float) -> float:
    """The ratio of a point's tolerance and another tolerance, the larger one divided by the smaller one.

    The page does the same division (service/web/static/tradeoff-chart.js), so that both round alike.
    """
    rtol = point.solver.rtol
    return math.inf if rtol is None else max(rtol / tolerance, tolerance / rtol)
