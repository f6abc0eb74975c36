"""The model card: what a person needs to know before using an artifact (Mitchell et al. 2019, arXiv 1810.03993)."""

import json
from textwrap import dedent, fill

from models.artifact import Manifest, MeasuredError, NetworkName
from models.profile import SUFFICIENT_AGREEMENT, Ladder, Profile, ProfilePoint
from models.solvers.settings import SolverSettings
from training.export.figure import FIGURE, LADDER_FIGURE

ODE = (
    "the solve of dz/dt = f(t, z) from t = 0 to 1, and a linear head. Each request chooses how precisely the ODE is "
    "solved"
)
SYSTEMS: dict[NetworkName, str] = {
    "mlp": "A multilayer perceptron with one hidden layer of 300 units",
    "resnet": "A ResNet: two strided residual blocks, six more, and a linear head (Chen et al. 2018, arXiv 1806.07366)",
    "odenet": f"An ODE-Net (Chen et al. 2018, arXiv 1806.07366): a convolutional stem, {ODE}",
    "odenet-strided": f"An ODE-Net (after Chen et al. 2018, arXiv 1806.07366): two strided convolutions, {ODE}",
    "odenet-wide": (
        "An ODE-Net (after Chen et al. 2018, arXiv 1806.07366): two strided convolutions, to a state of 96 channels, "
        f"{ODE}"
    ),
    "stem-only": "The stem and the head of an ODE-Net (Chen et al. 2018, arXiv 1806.07366), without the ODE",
}
WITHOUT_OUTLIERS = dedent("""\
    - The network knows only the ten digits, so a letter, a shape or noise gets a digit too. The probability of this
      digit is usually lower, but nothing is calibrated there, and some of these pictures get a probability near 1.
    """)
WITH_OUTLIERS = dedent("""\
    - The network knows only the ten digits, so a letter, a shape or noise gets a digit too. It was fitted to be unsure
      of generated pictures of this kind (Hendrycks et al. 2019, arXiv 1812.04606). Therefore the probability of this
      digit is usually low, but nothing is calibrated there, and some of these pictures may get a probability near 1.
    """)
LOOKS = {
    "thickness": "thicker or thinner strokes",
    "outline": "outlines instead of strokes",
    "line": "lines across the digit",
    "scribble": "scribbles across the digit",
    "inversion": "parts in which black and white are swapped",
    "cutout": "missing parts",
    "defocus": "a lens out of focus",
    "motion": "a shaken camera",
    "fog": "fog and shadows",
    "noise": "noise",
    "specks": "specks",
    "levels": "faint and uneven levels",
}
"""How the card names the changes of `training.appearance`."""


def write_card(manifest: Manifest, profile: Profile | None) -> str:
    """The card, as Markdown.

    Args:
        manifest: the manifest of the artifact; its checksums are not needed.
        profile: the profile of the artifact; None for a network without an ODE.
    """
    trade_off = [] if profile is None else [_trade_off(manifest, profile)]
    if profile is not None and profile.ladders:
        trade_off.append(_ladders(profile))
    sections = (
        _head(manifest),
        _errors(manifest),
        _calibration(manifest),
        *trade_off,
        _limits(manifest),
        _recipe(manifest),
    )
    return "\n".join(sections)


def _head(manifest: Manifest) -> str:
    return (
        f"# {manifest.name}, version {manifest.version}\n\n"
        f"{SYSTEMS[manifest.network]}. It has {manifest.parameters:,} parameters and reads handwritten digits. It was "
        f"fitted on the training set of `{manifest.dataset}` without its last 5,000 images, which are the validation "
        "split.\n\n"
        f"Input: 28x28 grey levels of 0 to 255, {_levels(manifest)}, in the MNIST form. Output: a logit for each "
        "digit.\n"
    )


def _levels(manifest: Manifest) -> str:
    if manifest.normalisation.levels == "stretched":
        return "with any contrast, white ink on black or black ink on white; the network itself normalises the levels"
    return "white ink on black"


def _errors(manifest: Manifest) -> str:
    rows = "\n".join(map(_error_row, manifest.metrics))
    chosen = (
        f"The errors are those of the default solver, {manifest.default_solver}. It was chosen on the validation "
        "split: it needs the fewest evaluations among the adaptive settings that give at least "
        f"{SUFFICIENT_AGREEMENT:.1%} of the images the same digit as the tight reference. "
        if manifest.methods
        else ""
    )
    return (
        f"## Error\n\n{chosen}No choice was made on the test set.\n\n"
        "| split | error | errors | images | 95 % interval (Wilson) | NFE |\n| --- | --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


def _error_row(measured: MeasuredError) -> str:
    low, high = measured.interval
    return (
        f"| {measured.split} | {measured.rate:.2%} | {measured.errors} | {measured.rows:,} | {low:.2%} to {high:.2%} "
        f"| {measured.nfe:.2f} |"
    )


def _calibration(manifest: Manifest) -> str:
    rows = "\n".join(
        f"| {measured.split} | {before.ece:.2%} | {after.ece:.2%} | {before.nll:.4f} | {after.nll:.4f} |"
        for measured in manifest.metrics
        if (before := measured.uncalibrated) and (after := measured.calibrated)
    )
    at_default = " at the default solver" if manifest.methods else ""
    return (
        f"## Calibration\n\nThe service divides the logits by a temperature of {manifest.temperature:g} (Guo et al. "
        f"2017, arXiv 1706.04599). The temperature was fitted on the validation split{at_default}, where it minimises "
        "the negative log-likelihood (NLL). It does not change any digit. The graphs return undivided logits. ECE is "
        "the expected calibration error with 15 bins of equal width.\n\n"
        "| split | ECE at temperature 1 | ECE | NLL at temperature 1 | NLL |\n| --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


def _trade_off(manifest: Manifest, profile: Profile) -> str:
    rows = "\n".join(_point_row(point, manifest.default_solver) for point in profile.points)
    return (
        f"## Accuracy against cost\n\n![error against evaluations]({FIGURE})\n\n"
        f"The table was measured on {profile.rows:,} images of the {profile.split} split with the exported graphs, "
        f"with onnxruntime on one thread ({profile.processor}), in batches of {profile.batch_size}. Agreement is the "
        f"share of images with the same digit as {profile.reference}. Times differ from machine to machine. At a loose "
        "tolerance a method may take the whole interval in one step.\n\n"
        "| solver | error | agreement | NFE mean | NFE 99 % | rejected steps | processor ms per image |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _point_row(point: ProfilePoint, default: SolverSettings | None) -> str:
    solver = f"**{point.solver}** (default)" if point.solver == default else str(point.solver)
    return (
        f"| {solver} | {point.error:.2%} | {point.agreement:.2%} | {point.nfe.mean:.1f} | {point.nfe.p99} "
        f"| {point.rejected:.2f} | {point.milliseconds_per_row:.2f} |"
    )


def _ladders(profile: Profile) -> str:
    ladder = profile.ladders[0]
    rows = "\n".join(map(_ladder_row, profile.ladders))
    return (
        f"## Agreement against cost\n\n![agreement against evaluations]({LADDER_FIGURE})\n\n"
        "A ladder solves an image loosely, and solves it again more tightly if the margin is small. The margin is the "
        "difference between the two greatest logits. The table was measured on "
        f"{ladder.rows:,} images of the {profile.split} split, which also set the thresholds. Agreement is the share "
        f"of images with the same digit as {profile.reference}. The bound is its lower confidence bound at "
        f"{ladder.confidence:.0%} (Clopper and Pearson 1934): no disagreement among the measured images does not prove "
        "an agreement of 100 %. The reference agrees with itself by definition. The stars in the figure are the "
        "ladders of the table, and the black line shows other thresholds. No disagreement is drawn as half an image: "
        f"{0.5 / profile.rows:.3%} for the settings, which were measured on {profile.rows:,} images, and "
        f"{0.5 / ladder.rows:.3%} for the ladders.\n\n"
        "| ladder | agreement | bound | solved again | NFE mean | NFE 99 % |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _ladder_row(ladder: Ladder) -> str:
    return (
        f"| {ladder} | {ladder.agreement:.2%} | {ladder.bound:.2%} | {ladder.escalated:.2%} | {ladder.nfe.mean:.2f} "
        f"| {ladder.nfe.p99} |"
    )


def _limits(manifest: Manifest) -> str:
    outliers = WITH_OUTLIERS if "outliers" in manifest.recipe else WITHOUT_OUTLIERS
    form = dedent("""\
        - The network was fitted on single digits that are centred and scaled like MNIST's. The service converts
          pictures to this form.
        """)
    solves = dedent("""\
        - The evaluations count the calls of f for one image. The cost of stem and head does not depend on the
          tolerance.
        - A looser tolerance rarely changes the digit, but it changes the probabilities. They are calibrated at the
          default solver, so compare probabilities at different tolerances with care.
        - The error estimate of an answer is the sum of the local error estimates of its steps. It is not a bound on
          the error of the solution.
        """)
    return f"## Limits\n\n{outliers}{form}{_looks(manifest)}{solves if manifest.methods else ''}"


def _looks(manifest: Manifest) -> str:
    appearance = manifest.recipe["augmentation"].get("appearance", {})
    seen = [name for field, name in LOOKS.items() if field in appearance]
    if not seen:
        return ""
    text = (
        f"- In the fit, small shares of the digits were changed (`training/appearance.py`): {', '.join(seen)}. Some of "
        "these changes resemble damage in benchmarks of corrupted digits, but the fit used no function of a benchmark."
    )
    return fill(text, 118, subsequent_indent="  ") + "\n"


def _recipe(manifest: Manifest) -> str:
    return f"## Recipe\n\n```json\n{json.dumps(manifest.recipe, indent=1)}\n```\n"
