"""What is told of answers: the table, and what is wrong."""

from typing import Any

import httpx

from service.cli.errors import Exit, NoAnswerError
from service.errors import FieldError

COLUMNS = {
    "file": "<",
    "digit": ">",
    "probability": ">",
    "method": "<",
    "tolerance": ">",
    "NFE": ">",
    "steps": ">",
    "error estimate": ">",
    "ms": ">",
}
"""Of the table, and to which side each is set."""


def table(rows: list[list[str]]) -> str:
    """The rows under their headings, aligned."""
    lines = [list(COLUMNS), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = list(zip(COLUMNS.values(), widths, strict=True))
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(line, sides, strict=True)) for line in lines
    )


def rows(name: str, response: httpx.Response) -> list[list[str]]:
    """Of the table, a row for each image of a file.

    Raises:
        NoAnswerError: that is no answer of the service.
    """
    try:
        told = response.json()
        predictions, milliseconds = told["predictions"], told["timing_ms"]["total"]
        names = [name] if len(predictions) == 1 else [f"{name}[{number}]" for number in range(len(predictions))]
        return [
            [name, *_cells(prediction), f"{milliseconds:.1f}"]
            for name, prediction in zip(names, predictions, strict=True)
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{response.url.copy_with(query=None)} answers, but not as this service does"
        raise NoAnswerError(Exit.unreachable, reason) from error


def _cells(prediction: dict[str, Any]) -> list[str]:
    """What the table says of an image between its name and the time that it took."""
    digit, solver = prediction["digit"], prediction["solver"]
    cells = [f"{digit:d}", f"{prediction['probabilities'][digit]:.4f}"]
    if solver is None:
        return cells + ["-"] * 5
    rtol, atol, error = solver["rtol"], solver["atol"], solver["error_estimate"]
    tolerance = "-" if rtol is None else f"{rtol:g}" if rtol == atol else f"{rtol:g}/{atol:g}"
    estimate = "-" if error is None else f"{error:.2g}"
    return [*cells, printable(solver["method"]), tolerance, f"{solver['nfe']:d}", f"{solver['steps']:d}", estimate]


def refusal(response: httpx.Response) -> NoAnswerError:
    """Why a request was not answered: the status, when to ask again, and the fields of the problem details."""
    reason = f"{response.status_code} {response.reason_phrase}"
    if "retry-after" in response.headers:
        reason += f"; ask again in {response.headers['retry-after']} s"
    try:
        problem = response.json()
        errors = [FieldError(each["field"], each["message"], each["value"]) for each in problem["errors"]]
        lines = [line(error) for error in errors] or [str(problem["detail"])]
    except (ValueError, KeyError, TypeError):  # it is from a proxy, say, and the status must do
        lines = []
    told = "\n  ".join(map(printable, [reason, *lines]))
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        return NoAnswerError(Exit.unavailable, told)
    return NoAnswerError(Exit.refused if response.is_client_error else Exit.unreachable, told)


def line(error: FieldError) -> str:
    """A thing that is wrong, with the value where it is told."""
    return f"{error.field}: {error.message}" + ("" if error.value is None else f"; not {error.value}")


def printable(text: str) -> str:
    """A text from elsewhere, with what a terminal would do something at, and what cannot be written, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
