"""Checks on the head of a request that neither the parser nor uvicorn makes."""

import re
from collections.abc import Sequence
from http import HTTPStatus

CHECKED = frozenset({b"host", b"transfer-encoding"})

HOST = re.compile(rb"(?:\[[\w.~!$&'()*+,;=:%-]+\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]*)?", re.ASCII)
"""A host and optionally a port (RFC 3986, section 3.2)."""


class RefusedError(Exception):
    """The server refuses a request before the application sees it, and closes the connection.

    Args:
        message: the reason, in ASCII.
        status: the status of the answer.
    """

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


def check(version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Check the headers that say whom a request is for and where it ends.

    Two servers must never disagree about these headers: one of them could take a part of a body for a request.

    Args:
        version: the version of HTTP, such as 1.1.
        headers: the names in lower case, and the values.

    Raises:
        RefusedError: the header Host is missing, repeated or not valid (RFC 9112, section 3.2); or the header
            Transfer-Encoding names anything but chunked, or HTTP/1.0 has it (RFC 9112, section 6.1).
    """
    checked = [header for header in headers if header[0] in CHECKED]
    if len(checked) == 1 and checked[0][0] == b"host" and HOST.fullmatch(checked[0][1]):
        return  # almost every request
    hosts = [value for name, value in checked if name == b"host"]
    if len(hosts) > 1 or (not hosts and version > "1.0"):
        raise RefusedError(f"A request needs one header Host; this request has {len(hosts)}.")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise RefusedError("The header Host must be a host and optionally a port.")
    codings = [value.lower() for name, value in checked if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version <= "1.0"):
        raise RefusedError("The header Transfer-Encoding must be chunked, and needs HTTP/1.1.")
