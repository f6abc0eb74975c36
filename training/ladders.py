"""Measures ladders: how many images need a tight solve, if the margin of a loose solve decides about each image.

A loose solve gives almost every image the digit of a tight solve. The images with another digit have a small margin,
the difference between the two greatest logits. So a ladder solves an image loosely, and solves it again tightly if the
margin is below a threshold (score-margin cascades: Park et al. 2015, "Big/little deep neural network for ultra low
power inference", CODES+ISSS).

**The bound.** A threshold above the largest margin of an image with another digit leaves no disagreement among n
images. This does not prove an agreement of 100 %. With confidence 1 - (1 - p)^n, at most a share p of future images
disagrees and has a larger margin than the largest of n observed ones (Wilks 1941, "Determination of sample sizes for
setting tolerance limits"). This is also the exact bound of Clopper and Pearson (1934) for no disagreement among n
images. So the bound holds although the same images set the threshold.

The bound does not count the choice of the settings. The same images choose the first rung by its cost, and the last
rung by its digits, so the ladder that is chosen may look a little better than it is. Other images must confirm it:
``python -m benchmarks.escalation --split test``.

**The safety factor.** The bound is weak: it is 99.94 % for 5,000 images. The margins of the images with another digit
tell more, if their tail is exponential. We raise the threshold until the tail beyond it is expected to hold a share of
`EXPECTED_MISSES` of all images.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.backends.protocol import Backend, classify
from models.profile import Ladder, ProfilePoint, Rung, ThresholdPoint
from models.solvers.settings import SolverSettings
from training.profile import BATCH_SIZE, REFERENCE, deviation, distribution

CONFIDENCE = 0.95
"""The confidence of the bounds. Each bound is one-sided, and holds for one ladder whose settings were given."""

EXPECTED_MISSES = 1e-4
"""The share of all images that is expected to have another digit and a margin above the threshold: one in 10,000."""

LARGEST_DEVIATION = 0.01
"""The largest mean deviation of the logits of a last rung from those of the reference.

About half a per cent of the validation digits have a margin below 1. So about one digit in 20,000 has a margin below
this deviation, and may get another digit by the last rung than by the reference."""

CURVE = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""The thresholds of a ladder's curve."""

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def measure_ladders(backend: Backend, images: Images, points: Iterable[ProfilePoint]) -> list[Ladder]:
    """Measure ladders of adaptive settings, and keep those that offer a greater bound than every cheaper ladder.

    The last rung is the cheapest setting that gives every image the digit of the reference, and whose logits deviate
    little. Each cheaper setting is tried as the first rung, if it gives some image another digit. The settings alone
    and the reference count as ladders of one rung.

    Args:
        backend: computes the answers.
        images: the images of the validation split, ``[rows, 28, 28]`` of uint8.
        points: the measured settings, which are ordered by their mean number of evaluations.

    Returns:
        The ladders from the cheapest to the dearest. The last one is the reference, whose agreement is 1 by definition.
    """
    reference = classify(backend, images, REFERENCE, BATCH_SIZE)
    tight, cheaper = (REFERENCE, reference), list[tuple[SolverSettings, Answer]]()
    for solver in _from_the_cheapest(points):
        answer = reference if solver == REFERENCE else classify(backend, images, solver, BATCH_SIZE)
        if (answer.digits == reference.digits).all() and deviation(answer, reference) <= LARGEST_DEVIATION:
            tight = solver, answer
            break
        cheaper.append((solver, answer))
    ladders = [
        *(_single(solver, answer, reference) for solver, answer in (*cheaper, tight)),
        *(
            _pair(solver, answer, *tight, reference)
            for solver, answer in cheaper
            if (answer.digits != reference.digits).any()
        ),
        _single(REFERENCE, reference, reference).model_copy(update={"bound": 1.0}),
    ]
    best = list[Ladder]()
    for ladder in sorted(ladders, key=lambda ladder: (ladder.nfe.mean, -ladder.bound)):
        if not best or ladder.bound > best[-1].bound:
            best.append(ladder)
    return best


def agreement_bound(disagreements: int, rows: int) -> float:
    """The lower bound of the agreement, one-sided at `CONFIDENCE` (Clopper and Pearson 1934).

    Args:
        disagreements: the number of images with another digit.
        rows: the number of images.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 (the import takes a second, and a fit does not need it)

    test = binomtest(rows - disagreements, rows, alternative="greater")
    return float(test.proportion_ci(CONFIDENCE, method="exact").low)


def choose_threshold(margins: npt.NDArray[np.float32], rows: int) -> float:
    """The threshold of a first rung, rounded up to a hundredth.

    It is above every margin of an image with another digit, also when it is rounded to float32. It is so large that,
    beyond it, an exponential tail with the mean of these margins holds a share of at most `EXPECTED_MISSES` of all
    images.

    Args:
        margins: the margins of the images with another digit than the reference's, at least one.
        rows: the number of all images.
    """
    tail = float(margins.mean()) * math.log(len(margins) / (rows * EXPECTED_MISSES))
    above = float(np.nextafter(margins.max(), np.float32(np.inf)))
    return (math.floor(100 * max(tail, above)) + 1) / 100


def _from_the_cheapest(points: Iterable[ProfilePoint]) -> Iterator[SolverSettings]:
    """The adaptive settings from the cheapest on. Of the settings of a method that cost the same, only the tightest."""
    seen = set[tuple[str, float]]()
    adaptive = [point for point in points if point.solver.rtol is not None]
    for point in sorted(adaptive, key=lambda point: (point.nfe.mean, point.solver.rtol)):
        if (cost := (point.solver.method, point.nfe.mean)) not in seen:
            seen.add(cost)
            yield point.solver


def _single(solver: SolverSettings, answer: Answer, reference: Answer) -> Ladder:
    """The ladder whose only rung is a setting."""
    nobody = np.zeros(len(answer.nfe), np.bool_)
    return _ladder([Rung(solver=solver)], answer.digits == reference.digits, nobody, answer.nfe)


def _pair(loose: SolverSettings, first: Answer, tight: SolverSettings, second: Answer, reference: Answer) -> Ladder:
    """The ladder of a loose and a tight setting, of which the tight one gives every image the reference's digit."""
    margins, same = first.margins, first.digits == reference.digits
    threshold = choose_threshold(margins[~same], len(margins))

    def climb(threshold: float) -> tuple[Mask, Mask, Counts]:
        again = ~(margins >= threshold)  # this form also solves an image again whose margin is not a number
        return again | same, again, first.nfe + again * second.nfe

    def point(threshold: float) -> ThresholdPoint:
        agrees, _, nfe = climb(threshold)
        return ThresholdPoint(threshold=threshold, agreement=float(agrees.mean()), nfe=float(nfe.mean()))

    rungs = [Rung(solver=loose, threshold=threshold), Rung(solver=tight)]
    return _ladder(rungs, *climb(threshold)).model_copy(update={"curve": [point(each) for each in CURVE]})


def _ladder(rungs: list[Rung], agrees: Mask, again: Mask, nfe: Counts) -> Ladder:
    """Describe a ladder by three columns ``[rows]``: the images that agree, the escalated ones, and the evaluations."""
    rows = len(agrees)
    return Ladder(
        rungs=rungs,
        rows=rows,
        agreement=float(agrees.mean()),
        bound=agreement_bound(rows - int(agrees.sum()), rows),
        confidence=CONFIDENCE,
        escalated=float(again.mean()),
        nfe=distribution(nfe),
    )
