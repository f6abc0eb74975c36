"""The sets of operators that an ONNX graph uses. The check needs neither onnx nor onnxruntime."""

from collections.abc import Iterator
from pathlib import Path

OF_ONNX = {b"", b"ai.onnx"}
"""The two names of the domain of ONNX's own operators."""

DOMAIN = {"import": 1, "node": 7}
"""The numbers of the fields that name a domain, in the messages OperatorSetIdProto and NodeProto (onnx.proto)."""

PARTS = {
    "model": {7: "graph", 8: "import", 25: "function"},
    "graph": {1: "node"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
    "import": {},
}
"""The numbers of the fields that hold other messages, and the kinds of these messages. An attribute of a loop or of a
branch holds a graph."""


def check(path: Path) -> None:
    """Check that a graph uses only the operators of ONNX. Other operators may do anything, and need not be portable.

    onnxruntime finds all other faults of the file, so this check ignores them.

    Raises:
        OSError: the file cannot be read.
        ValueError: the graph uses other operators, or its parts are nested too deeply.
    """
    try:
        others = sorted(set(_domains(path.read_bytes(), "model")) - OF_ONNX)
    except RecursionError as error:
        raise ValueError("its graphs are nested too deeply") from error
    if others:
        names = ", ".join(domain.decode(errors="replace") for domain in others)
        raise ValueError(f"it uses operators of the domain {names}; only operators of ONNX are served")


def _domains(message: bytes, kind: str) -> Iterator[bytes]:
    """The domains of the operators in a message."""
    parts = PARTS[kind]
    for number, content in _fields(message):
        if number == DOMAIN.get(kind):
            yield content
        elif number in parts:
            yield from _domains(content, parts[number])


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and contents of the fields that are texts or messages (Protocol Buffers, "Encoding")."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                yield key >> 3, message[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                return  # this is no message


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    number = shift = 0
    while at < len(message):
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return number, at
