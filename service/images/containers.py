"""Prepares the bytes of a PNG or JPEG for the decoder.

It removes metadata from a PNG, counts the scans of a JPEG, and completes a JPEG whose end marker is missing.
"""

import io
import re
import time
import zlib
from struct import Struct

from service.images.errors import PictureTooLargeError

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

ANCILLARY = 0x20
"""The bit of the first letter of a chunk's type that is set if decoders may skip the chunk."""

XMP = b"XML:com.adobe.xmp\0\0"
"""The start of an uncompressed chunk of text that holds XMP, which may give the orientation."""

MOST_CHUNKS = 4_000
"""The greatest number of chunks of a PNG. Encoders write chunks of at least 8 KiB, and 4,000 chunks take 8 ms."""

MOST_READS = 4_000
"""The greatest number of times that a decoder reads from a picture: about four times for each segment of a JPEG, and
once for each byte of padding between two segments. So many reads take 4 ms."""

MOST_SECONDS = 2.0
"""The greatest processor time in seconds until all of a picture is read. The largest pictures of cameras take 0.1 s."""

CHUNK_HEAD = Struct(">I4s")
CHECKSUM = Struct(">I")

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
FILLING = b"\x5a\xa5\x33\xcc\x0f\xf0" * 12
"""Bytes that a decoder takes for pixels if pixels are missing."""

MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A marker that ends the data of a scan. In the data, 0 or the number of a restart follows a byte of 255."""

START_OF_IMAGE, FIRST_WITH_LENGTH = 0xD8, 0xC0
"""Only markers from the second on have a length and a content, except for the start of the image. Decoders pass over
a lower marker in a scan, and read on right after it. If we took the next bytes for a length, scans could hide there."""


class BoundedFile(io.BytesIO):
    """The content of a picture, for a decoder. It refuses to be read once the decoder has done too much work.

    The time is the processor time of the thread, so that a busy machine does not refuse what an idle one decodes.

    Args:
        content: the bytes of the picture.
        until: the processor time, by `time.thread_time`, from which on reads are refused.
    """

    def __init__(self, content: bytes, until: float) -> None:
        super().__init__(content)
        self._until = until
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes.

        Raises:
            PictureTooLargeError: the decoder has read too often, or for too long.
        """
        self._reads += 1
        if self._reads > MOST_READS:
            raise PictureTooLargeError(
                f"the picture has so many segments that a decoder reads more than {MOST_READS:,} times; "
                f"at most {MOST_READS:,} reads are made"
            )
        if time.thread_time() > self._until:
            raise PictureTooLargeError(f"the picture takes more than {MOST_SECONDS:g} s to decode; that is the limit")
        return super().read(size)


def without_metadata(png: bytes) -> bytes:
    """Remove the chunks of a PNG that do not change how the picture looks: profiles, texts, times, animations.

    So neither their size nor a fault in them is a reason to refuse the picture. The transparency and an orientation
    stay, unless the checksum of the orientation is wrong (W3C, *Portable Network Graphics*, sections 4.8 and 5.3).

    Args:
        png: a PNG, which may be damaged. Whatever cannot be parsed stays, so that the decoder finds the fault.

    Raises:
        PictureTooLargeError: there are more than `MOST_CHUNKS` chunks.
    """
    parts, at, kept_from, chunks = [], len(PNG), 0, 0
    while at + CHUNK_HEAD.size <= len(png):
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise PictureTooLargeError(
                f"the PNG has more than {MOST_CHUNKS:,} chunks; at most {MOST_CHUNKS:,} are read"
            )
        length, kind = CHUNK_HEAD.unpack_from(png, at)
        end = at + CHUNK_HEAD.size + length + CHECKSUM.size
        if kind[0] & ANCILLARY and not _changes_the_picture(kind, png[at:end]):
            parts.append(png[kept_from:at])
            kept_from = end
        at = end
    return b"".join([*parts, png[kept_from:]]) if parts else png


def _changes_the_picture(kind: bytes, chunk: bytes) -> bool:
    """Whether an ancillary chunk is needed to show the picture."""
    if kind == b"tRNS":
        return True
    content, checksum = chunk[CHUNK_HEAD.size : -CHECKSUM.size], chunk[-CHECKSUM.size :]
    has_orientation = kind == b"eXIf" or (kind == b"iTXt" and content.startswith(XMP))
    return has_orientation and checksum == CHECKSUM.pack(zlib.crc32(kind + content))


def scans(jpeg: bytes, most: int) -> int:
    """The number of scans of a JPEG, up to its end: other files, such as a video, may follow (ITU-T T.81, annex B).

    Args:
        jpeg: a JPEG, which may be damaged.
        most: counting stops when there are more scans than this.
    """
    if jpeg.count(bytes([0xFF, START_OF_SCAN])) <= most:
        return jpeg.count(bytes([0xFF, START_OF_SCAN]))
    found, at = 0, 0
    while found <= most and (marker := MARKER.search(jpeg, at)) and marker[0] != END_OF_IMAGE:
        at = marker.end()
        code = marker[1][0]
        found += code == START_OF_SCAN
        if code >= FIRST_WITH_LENGTH and code != START_OF_IMAGE:
            at += int.from_bytes(jpeg[at : at + 2])
    return found


def completions(jpeg: bytes) -> tuple[bytes, bytes] | None:
    """Complete a JPEG whose end marker is missing, in two ways that differ only if pixels are missing.

    A decoder reads on into whatever follows the data. So other pixels follow in the second way, and then the marker of
    the next restart with other pixels: a decoder skips the first ones if the data end just before a restart.

    Returns:
        Two JPEGs; None if whole scans are missing, because the last scan does not give the lowest bits (T.81, annex G).
    """
    data = jpeg.rstrip(b"\xff")
    start = data.rfind(bytes([0xFF, START_OF_SCAN]))
    end_of_header = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    scan = data[end_of_header:]
    if start < 0 or not scan or data[end_of_header - 1] & 0x0F:
        return None
    restarts = RESTART.findall(scan)
    following = bytes([0xFF, 0xD0 | (restarts[-1][0] + 1) % 8 if restarts else 0xD0])
    return data + END_OF_IMAGE, data + FILLING + following + FILLING + END_OF_IMAGE
