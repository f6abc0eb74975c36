"""Measures the errors and the calibration of a network for its manifest."""

from models.artifact import MeasuredError
from models.backends.answer import Answer
from models.backends.protocol import Backend, classify
from models.solvers.settings import SolverSettings
from training.calibration import calibration, fit_temperature
from training.data import Dataset, Split
from training.evaluate import error_rate


def measure(backend: Backend, dataset: Dataset, solver: SolverSettings | None) -> tuple[float, list[MeasuredError]]:
    """Fit the temperature on the validation split, and measure errors and calibration on both splits.

    Args:
        backend: the backend that computes.
        dataset: the dataset with the validation split and the test split.
        solver: the default solver of the artifact; None for a network without an ODE.

    Returns:
        The temperature, and the measured errors of the two splits.
    """
    splits = {"validation": dataset.validation, "test": dataset.test}
    answers = {name: classify(backend, split.images.numpy(), solver) for name, split in splits.items()}
    temperature = fit_temperature(answers["validation"].logits, dataset.validation.labels.numpy())
    return temperature, [_measured(name, answers[name], split, solver, temperature) for name, split in splits.items()]


def _measured(
    name: str, answer: Answer, split: Split, solver: SolverSettings | None, temperature: float
) -> MeasuredError:
    labels = split.labels.numpy()
    counted = error_rate(answer.digits, labels)
    return MeasuredError.model_validate(
        {
            "split": name,
            "solver": solver,
            "errors": counted.errors,
            "rows": counted.rows,
            "rate": counted.rate,
            "interval": counted.interval,
            "nfe": answer.nfe.mean(),
            "uncalibrated": calibration(answer.logits, labels, 1.0),
            "calibrated": calibration(answer.logits, labels, temperature),
        }
    )
