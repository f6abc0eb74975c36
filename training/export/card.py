"""The model card: what a person should know before using the artifact (Mitchell et al. 2019, arXiv 1810.03993)."""

import json
from textwrap import dedent

from models.artifact import SUFFICIENT_AGREEMENT, Manifest, MeasuredError, NetworkName, Profile, ProfilePoint
from models.solvers.settings import SolverSettings
from training.export.figure import FIGURE

ODE = (
    "the solve of dz/dt = f(t, z) from t = 0 to 1, and a linear head. How precisely the ODE is solved is for the "
    "caller to say, with each request"
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
OF_NO_OUTLIERS = dedent("""\
    - It knows the ten digits and nothing else: a letter, a shape or noise gets a digit too. Its probability is
      lower as a rule, but nothing is calibrated there, and some are taken for digits with certainty.
    """)
OF_OUTLIERS = dedent("""\
    - It knows the ten digits and nothing else: a letter, a shape or noise gets a digit too. It was fitted to be unsure
      of such pictures, which a program made (Hendrycks et al. 2019, arXiv 1812.04606), so that its probability is low
      as a rule, but nothing is calibrated there, and some may be taken for digits with certainty.
    """)


def write_card(manifest: Manifest, profile: Profile | None) -> str:
    """The card, as Markdown.

    Args:
        manifest: of the artifact; its checksums are not needed.
        profile: of the artifact; None for a network without an ODE.
    """
    trade_off = [] if profile is None else [_trade_off(manifest, profile)]
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
        f"{SYSTEMS[manifest.network]}. {manifest.parameters:,} parameters. It reads handwritten digits. Fitted on the "
        f"training set of `{manifest.dataset}` less its last 5,000 images, which are the validation split.\n\n"
        f"Input: 28x28 grey levels of 0 to 255, {_levels(manifest)}, in MNIST's form. Output: a logit for each digit.\n"
    )


def _levels(manifest: Manifest) -> str:
    if manifest.normalisation.levels == "stretched":
        return "of any contrast, white ink on black or black on white, which the network itself brings to one form"
    return "white ink on black"


def _errors(manifest: Manifest) -> str:
    rows = "\n".join(map(_error_row, manifest.metrics))
    chosen = (
        f"At the default solver, {manifest.default_solver}. It was chosen on the validation split: of the adaptive "
        f"settings whose digits are those of the tight reference for at least {SUFFICIENT_AGREEMENT:.1%} of the "
        "images, the one of the fewest evaluations. "
        if manifest.methods
        else ""
    )
    return (
        f"## Error\n\n{chosen}The test set decided nothing.\n\n"
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
        f"2017, arXiv 1706.04599), fitted on the validation split{at_default} by the least negative log-likelihood "
        "(NLL). That changes no digit; the graphs give the logits as they are. ECE is the expected calibration error "
        "in 15 bins of equal width.\n\n"
        "| split | ECE at temperature 1 | ECE | NLL at temperature 1 | NLL |\n| --- | --- | --- | --- | --- |\n"
        f"{rows}\n"
    )


def _trade_off(manifest: Manifest, profile: Profile) -> str:
    rows = "\n".join(_point_row(point, manifest.default_solver) for point in profile.points)
    return (
        f"## Accuracy against cost\n\n![error against evaluations]({FIGURE})\n\n"
        f"Measured on {profile.rows:,} images of the {profile.split} split through the exported graphs, by "
        f"onnxruntime, on one thread ({profile.processor}), in batches of {profile.batch_size}. Agreement is the share "
        f"of images with the same digit as {profile.reference}; times move from machine to machine. At a loose "
        "tolerance a method may take the whole interval in one step, and its error is then what that step leaves.\n\n"
        "| solver | error | agreement | NFE mean | NFE 99 % | rejected steps | processor ms an image |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _point_row(point: ProfilePoint, default: SolverSettings | None) -> str:
    solver = f"**{point.solver}** (default)" if point.solver == default else str(point.solver)
    return (
        f"| {solver} | {point.error:.2%} | {point.agreement:.2%} | {point.nfe.mean:.1f} | {point.nfe.p99} "
        f"| {point.rejected:.2f} | {point.milliseconds_per_row:.2f} |"
    )


def _limits(manifest: Manifest) -> str:
    of_others = OF_OUTLIERS if "outliers" in manifest.recipe else OF_NO_OUTLIERS
    of_form = dedent("""\
        - It was fitted on single digits, centred and scaled as MNIST's are; the service brings pictures to that form.
        """)
    of_solves = dedent("""\
        - The evaluations count calls of f for one image; stem and head cost as much at every tolerance.
        - A looser tolerance rarely changes the digit, but it does change the probabilities, which are calibrated at
          the default solver: compare those of answers at different tolerances with care. The error estimate of an
          answer is the sum of the local estimates of its steps, no bound on the error of the solution.
        """)
    return f"## Limits\n\n{of_others}{of_form}{of_solves if manifest.methods else ''}"


def _recipe(manifest: Manifest) -> str:
    return f"## Recipe\n\n```json\n{json.dumps(manifest.recipe, indent=1)}\n```\n"
