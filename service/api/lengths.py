"""Numbers of bytes in headers."""

LONGEST = 18
"""Digits; nobody sends more bytes than these can say."""


def length(header: str) -> int | None:
    """A number of bytes, as a header tells it; None if it tells none."""
    told = header.isascii() and header.isdigit() and len(header) <= LONGEST
    return int(header) if told else None
