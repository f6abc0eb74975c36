"""Callers whose requests cost much more than they weigh, next to honest callers."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.serving import load
from benchmarks.serving.forms import RAW, Form, Images, predictions
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.report import number
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import Result, Summary, summarise
from benchmarks.serving.servers import ours, running

SIDE = 4_096
"""The side of the largest square picture that the service decodes."""

CONNECTIONS = 4
"""The number of connections of the hostile caller, and of the honest callers."""

ADDRESS = "127.0.0.2"
"""The address of the hostile caller. The honest callers have another one, 127.0.0.1."""


def png(images: Images) -> bytes:
    """The first image as a PNG of 112x112 pixels."""
    return _file(Image.fromarray(images[0].repeat(4, 0).repeat(4, 1)), "PNG")


def jpeg(images: Images) -> bytes:
    """The first image as a JPEG of 112x112 pixels."""
    return _file(Image.fromarray(images[0].repeat(4, 0).repeat(4, 1)), "JPEG")


HONEST = (Kind("pictures", form=Form("/predict", "image/png", png, predictions)), Kind("grey levels", form=RAW))
"""Half of the honest connections send pictures, and half of them send grey levels."""


class Hostile(NamedTuple):
    """A hostile request.

    Attributes:
        name: the name in the results.
        media_type: the media type of the body.
        make: makes the body.
        query: the query of the URL.
    """

    name: str
    media_type: str
    make: Callable[[Digits], bytes]
    query: str = ""


def tall_png(_: Digits) -> bytes:
    """A PNG of 1x16,777,216 pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 2**24, 8, 0, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(2 * 2**24)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + _chunk(b"IEND", b"")


def png_of_chunks(digits: Digits) -> bytes:
    """A digit as a PNG, with 500,000 empty texts."""
    content = png(digits.images)
    return content[:33] + 500_000 * _chunk(b"tEXt", b"a\0") + content[33:]


def jpeg_of_segments(digits: Digits) -> bytes:
    """A digit as a JPEG, with two million empty segments."""
    content = jpeg(digits.images)
    return content[:2] + 2_000_000 * b"\xff\xe3\x00\x02" + content[2:]


def padded_jpeg(digits: Digits) -> bytes:
    """A digit as a JPEG, with 8 MB of padding before its first segment."""
    content = jpeg(digits.images)
    return content[:2] + 8_000_000 * b"\xff" + content[2:]


def large_png(digits: Digits) -> bytes:
    """A digit as the largest picture that the service decodes, with a transparency."""
    grey = Image.fromarray(digits.images[0]).resize((SIDE, SIDE))
    picture = grey.convert("RGB")
    picture.putalpha(grey)
    return _file(picture, "PNG", compress_level=1)


def many_large_pictures(digits: Digits) -> bytes:
    """JSON with the largest picture, as many times as the body may hold it."""
    picture = Image.fromarray(digits.images[0]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    text = base64.b64encode(_file(picture, "PNG")).decode()
    return json.dumps({"images": [text] * min(256, 8_000_000 // len(text))}).encode()


def progressive_jpeg(digits: Digits) -> bytes:
    """A digit as a large progressive JPEG with 95 scans."""
    picture = Image.fromarray(digits.images[0]).resize((SIDE, SIDE))
    content = _file(picture, "JPEG", progressive=True, quality=95)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + 90 * scan[: 7_000_000 // 90] + content[-2:]


def json_of_names(_: Digits) -> bytes:
    """JSON with 600,000 names."""
    return json.dumps({f"k{each}": 0 for each in range(600_000)}, separators=(",", ":")).encode()


def wrong_images(digits: Digits) -> bytes:
    """JSON with 256 images. The last image is wrong, so the service parses the JSON and computes nothing."""
    images = np.resize(digits.images, (256, 28, 28)).tolist()
    images[-1][27][27] = 256
    return json.dumps({"images": images}, separators=(",", ":")).encode()


def long_numbers(_: Digits) -> bytes:
    """JSON with numbers of 4,000 digits."""
    return b'{"images":[%s]}' % b",".join([b"9" * 4_000] * 2_000)


def form_of_parts(_: Digits) -> bytes:
    """A form with 127,000 files of one byte."""
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nA\r\n'
    return 127_000 * part + b"--b--\r\n"


def digits_256(digits: Digits) -> bytes:
    """256 images."""
    return np.resize(digits.images, (256, 28, 28)).tobytes()


PNG, JPEG, JSON = "image/png", "image/jpeg", "application/json"
FORM = "multipart/form-data; boundary=b"
HOSTILE = (
    Hostile("PNG of 1x16,777,216 pixels", PNG, tall_png),
    Hostile("PNG with 500,000 chunks", PNG, png_of_chunks),
    Hostile("JPEG with 2,000,000 segments", JPEG, jpeg_of_segments),
    Hostile("JPEG with 8 MB of padding", JPEG, padded_jpeg),
    Hostile("PNG of 16 million pixels", PNG, large_png),
    Hostile("JSON with many such PNGs", JSON, many_large_pictures),
    Hostile("JPEG of 16 million pixels, 95 scans", JPEG, progressive_jpeg),
    Hostile("JSON with 600,000 names", JSON, json_of_names),
    Hostile("JSON with 256 images, one wrong", JSON, wrong_images),
    Hostile("JSON with 8 MB of digits", JSON, long_numbers),
    Hostile("form with 127,000 files", FORM, form_of_parts),
    Hostile("256 images by heun2 at 1e-6", RAW.content_type, digits_256, "method=heun2&tolerance=1e-6&count=256"),
)


def measure(digits: Digits, seconds: float, report: Callable[[str], object]) -> Iterator[str]:
    """Measure honest callers alone and next to each hostile caller, and yield the lines of a table.

    The hostile caller has an address of its own. Nobody has a key.
    """
    yield "| hostile caller, 4 connections | its answers | others' p50, ms: alone, beside | others' p99 | answered |"
    yield "| --- | --- | --- | --- | --- |"
    with load.process() as honest, load.process() as hostile, running(ours()) as server:
        _load(honest, server.port, digits, min(2.0, seconds)).result()
        for each in HOSTILE:
            report(each.name)
            alone = [summarise(_load(honest, server.port, digits, seconds).result(), kind.name) for kind in HONEST]
            attack = hostile.submit(load.measure, _attack(each, server.port, digits, seconds + 2), _one(digits))
            result = _load(honest, server.port, digits, seconds).result()
            beside = [summarise(result, kind.name) for kind in HONEST]
            statuses = summarise(attack.result()).failed
            answers = ", ".join(f"{count:,} of {status}" for status, count in statuses.most_common()) or "200"
            pairs = (_pairs(alone, beside, name) for name in ("p50", "p99"))
            yield f"| {each.name} | {answers} | {' | '.join(pairs)} | {(result.status == 200).mean():.1%} |"


def _pairs(alone: list[Summary], beside: list[Summary], name: str) -> str:
    """A percentile of each honest kind, alone and beside the hostile caller, with their ratio."""
    pairs = [(kind.name, getattr(a, name), getattr(b, name)) for kind, a, b in zip(HONEST, alone, beside, strict=True)]
    return "; ".join(f"{kind} {number(a)} → {number(b)} ({b / a:.1f})" for kind, a, b in pairs)


def _load(process: ProcessPoolExecutor, port: int, digits: Digits, seconds: float) -> Future[Result]:
    plan = Plan(port, Closed(CONNECTIONS, seconds), HONEST)
    return process.submit(load.measure, plan, digits)


def _attack(hostile: Hostile, port: int, digits: Digits, seconds: float) -> Plan:
    form = Form("/predict", hostile.media_type, partial(_always, hostile.make(digits)), None)
    kind = Kind(hostile.name, hostile.query, form=form)
    return Plan(port, Closed(CONNECTIONS, seconds), (kind,), patience=5, source=ADDRESS)


def _one(digits: Digits) -> Digits:
    """The first image, because the load generator makes a body for each image."""
    return Digits(digits.images[:1], digits.labels[:1])


def _always(content: bytes, _: Images) -> bytes:
    return content


def _file(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
