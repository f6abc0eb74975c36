"""Pictures for tests: well-formed, odd and hostile ones."""

import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.images.decode import decode
from service.images.errors import PictureError
from tests.digits import load_test_set

MAX_PIXELS = 1 << 24
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112
TURNED = {  # for each value of the tag, the inverse of the transposition that the value requests
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

Pixels = npt.NDArray[np.uint8]

DIGITS, LABELS = load_test_set()
SEVEN = DIGITS[0]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join([PNG, header, *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])


def enlarged(digit: Pixels, times: int = 10) -> npt.NDArray[np.float64]:
    side = 28 * times
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.LANCZOS), np.float64)


def on_paper(digit: Pixels, top: int, left: int, paper: int = 230, ink: int = 40) -> Pixels:
    big = enlarged(digit)
    scene = np.full((480, 640), float(paper))
    scene[top : top + big.shape[0], left : left + big.shape[1]] += big / 255 * (ink - paper)
    return scene.round().astype(np.uint8)


def correlation(one: Pixels, other: Pixels) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def is_digit(answer: Pixels) -> bool:
    return answer.shape == (28, 28) and answer.dtype == np.uint8


def outcome(content: bytes) -> Pixels | None:
    """The digit, or None if the content is refused with a picture error."""
    try:
        answer = decode(content, MAX_PIXELS)
    except PictureError:
        return None
    assert is_digit(answer)
    return answer
