"""Formats answers as a table, and errors as text."""

from typing import Any

import httpx

from service.cli.errors import Exit, NoAnswerError
from service.environment import KEY
from service.errors import FieldError

COLUMNS = {
    "file": "<",
    "digit": ">",
    "probability": ">",
    "margin": ">",
    "method": "<",
    "tolerance": ">",
    "NFE": ">",
    "steps": ">",
    "outcome": "<",
    "escalated": "<",
    "degraded": "<",
    "error estimate": ">",
    "ms": ">",
}
"""The columns of the table, and the side to which each is aligned."""


def table(rows: list[list[str]]) -> str:
    """Format rows under their headings, with aligned columns."""
    lines = [list(COLUMNS), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = list(zip(COLUMNS.values(), widths, strict=True))
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(line, sides, strict=True)) for line in lines
    )


def table_rows(name: str, response: httpx.Response) -> list[list[str]]:
    """The rows of the table for the images of a file.

    Raises:
        NoAnswerError: the response does not have the form of this service's answers.
    """
    try:
        answer = response.json()
        predictions, milliseconds = answer["predictions"], answer["timing_ms"]["total"]
        names = [name] if len(predictions) == 1 else [f"{name}[{number}]" for number in range(len(predictions))]
        return [
            [name, *_cells(prediction), f"{milliseconds:.1f}"]
            for name, prediction in zip(names, predictions, strict=True)
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{response.url.copy_with(query=None)} gives answers in another form than this service"
        raise NoAnswerError(Exit.unreachable, reason) from error


def _cells(prediction: dict[str, Any]) -> list[str]:
    """The cells of an image, without the name and the time."""
    digit, solver = prediction["digit"], prediction["solver"]
    margin = prediction["margin"]
    cells = [f"{digit:d}", f"{prediction['probabilities'][digit]:.4f}", "-" if margin is None else f"{margin:.1f}"]
    if solver is None:
        return cells + ["-"] * (len(COLUMNS) - 5)
    rtol, atol, error = solver["rtol"], solver["atol"], solver["error_estimate"]
    tolerance = "-" if rtol is None else f"{rtol:g}" if rtol == atol else f"{rtol:g}/{atol:g}"
    estimate = "-" if error is None else f"{error:.2g}"
    costs = [f"{solver['nfe']:d}", f"{solver['steps']:d}"]
    events = [printable(solver["outcome"]), *("yes" if solver[event] else "no" for event in ("escalated", "degraded"))]
    return [*cells, printable(solver["method"]), tolerance, *costs, *events, estimate]


def refusal(response: httpx.Response) -> NoAnswerError:
    """The error for a refused request: the status, when to ask again, and the fields of the problem details."""
    reason = f"{response.status_code} {response.reason_phrase}"
    if "retry-after" in response.headers:
        reason += f"; ask again in {response.headers['retry-after']} s"
    try:
        problem = response.json()
        errors = [FieldError(each["field"], each["message"], each["value"]) for each in problem["errors"]]
        lines = [line(error) for error in errors] or [str(problem["detail"])]
    except (ValueError, KeyError, TypeError):  # the response is from a proxy, for example; we only have the status
        lines = []
    if response.status_code == httpx.codes.UNAUTHORIZED:
        lines.append(f"put your API key into the environment variable {KEY}")
    text = "\n  ".join(map(printable, [reason, *lines]))
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        return NoAnswerError(Exit.unavailable, text)
    return NoAnswerError(Exit.refused if response.is_client_error else Exit.unreachable, text)


def line(error: FieldError) -> str:
    """Format the error of a field as a line, with the value if there is one."""
    return f"{error.field}: {error.message}" + ("" if error.value is None else f"; not {error.value}")


def printable(text: str) -> str:
    """Escape the characters of a foreign text that would control the terminal or that cannot be printed."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
