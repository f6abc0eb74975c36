"""Parses the lengths in headers."""

MOST_DIGITS = 18
"""The greatest number of digits of a length. No body has more bytes than 18 digits can express."""


def length(header: str) -> int | None:
    """The number of bytes in a header; None if the header is not such a number."""
    is_length = header.isascii() and header.isdigit() and len(header) <= MOST_DIGITS
    return int(header) if is_length else None
