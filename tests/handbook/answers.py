"""Answers in JSON, and whether one that is shown is of the form of one that was given."""

import json
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
