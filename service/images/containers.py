"""Prepares the bytes of a PNG or JPEG for the decoder: removes metadata from a PNG, and counts the scans of a JPEG."""

import re
import zlib
from struct import Struct

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

ANCILLARY = 0x20
"""The bit of the first letter of a chunk's type that is set if decoders may skip the chunk."""

XMP = b"XML:com.adobe.xmp\0\0"
"""The start of an uncompressed chunk of text that holds XMP, which may give the orientation."""

CHUNK_HEAD = Struct(">I4s")
CHECKSUM = Struct(">I")

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A marker that ends the data of a scan. In the data, 0 or the number of a restart follows a byte of 255."""

WITHOUT_LENGTH = {0x01, 0xD8}
"""Markers of JPEG without a length and a content."""


def without_metadata(png: bytes) -> bytes:
    """Remove the chunks of a PNG that do not change how the picture looks: profiles, texts, times, animations.

    So neither their size nor a fault in them is a reason to refuse the picture. The transparency and an orientation
    stay, unless the checksum of the orientation is wrong (W3C, *Portable Network Graphics*, sections 4.8 and 5.3).

    Args:
        png: a PNG, which may be damaged. Whatever cannot be parsed stays, so that the decoder finds the fault.
    """
    parts, at, kept_from = [], len(PNG), 0
    while at + CHUNK_HEAD.size <= len(png):
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
        if code not in WITHOUT_LENGTH:
            at += int.from_bytes(jpeg[at : at + 2])
    return found
