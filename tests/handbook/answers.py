"""Answers in JSON and in the command's table, and whether one that is shown is as one that was given."""

import json
import re
from typing import Any


def documents(text: str) -> list[Any]:
    """The objects of JSON that stand in a text."""
    found, decoder, at = [], json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            document, end = decoder.raw_decode(text, at)
            found.append(document)
        except json.JSONDecodeError:
            end = at + 1
        at = text.find("{", end)
    return found


def cells(text: str) -> list[list[str]]:
    """The cells of the lines of a table, which two spaces or more part, less the last one, a time."""
    return [re.split(r"\s{2,}", line.strip())[:-1] for line in text.splitlines()]


def form(value: Any) -> Any:
    """What is left of a value without what differs from answer to answer: its keys, and the types below them."""
    match value:
        case dict():
            return {key: form(each) for key, each in value.items()}
        case list():
            return [each for at, each in enumerate(map(form, value)) if each not in list(map(form, value[:at]))]
        case bool() | None | str():
            return type(value).__name__
        case _:
            return "number"
