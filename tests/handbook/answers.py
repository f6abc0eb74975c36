"""Parsing of answers in JSON and in the command's table, to compare an answer on a page with an actual answer."""

import json
import re
from typing import Any


def documents(text: str) -> list[Any]:
    """The JSON objects in a text."""
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
    """The cells of each line of a table, separated by two or more spaces, without the last cell, which is a time."""
    return [re.split(r"\s{2,}", line.strip())[:-1] for line in text.splitlines()]


def form(value: Any) -> Any:
    """The structure of a value, which is the same in every answer: its keys and the types of its values."""
    match value:
        case dict():
            return {key: form(each) for key, each in value.items()}
        case list():
            return [each for at, each in enumerate(map(form, value)) if each not in list(map(form, value[:at]))]
        case bool() | None | str():
            return type(value).__name__
        case _:
            return "number"
