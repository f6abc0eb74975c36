"""Fuzzers: valid requests, pictures and artifacts, changed at random. The seed decides about all changes."""

import http.client
import json
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.chaos.hostile import JPEG, PNG, jpeg, png
from benchmarks.serving.plan import HOST
from benchmarks.serving.requests import Digits
from benchmarks.serving.servers import ours, running
from models.artifact import MANIFEST, ArtifactError, newest, sha256
from service.hosting.loader import load
from service.settings import Settings

MLP = Path(__file__).parents[2] / "models" / "fitted" / "mlp"
"""The model whose artifact is changed. It loads the fastest."""

INFER = "/v2/models/odenet-mnist/infer"
ARTIFACT_SHARE = 0.05
"""Artifacts, as a share of the number of requests, because each takes longer."""

CONNECTIONS = 16
"""Requests that are sent at a time. An incomplete request waits a second for its refusal."""

PATIENCE = 30.0
"""Seconds to wait for an answer."""


def changed(dice: random.Random, content: bytes) -> bytes:
    """Change some content in one to four places: replace, cut, repeat or insert bytes."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(content) + 1)
        end = min(len(content), start + dice.choice((1, 2, 8, 64, 1024)))
        part, noise = content[start:end], dice.randbytes(dice.choice((1, 2, 8)))
        middle = dice.choice((noise, b"", part * 3, part + noise, part.swapcase(), b"9" * len(part)))
        content = content[:start] + middle + content[end:]
    return content


def measure(digits: Digits, requests: int, seed: int, report: Callable[[str], object]) -> Iterator[str]:
    """Send changed requests, load changed artifacts, and yield the lines of a table."""
    yield "| what is changed | number | outcomes |"
    yield "| --- | --- | --- |"
    image = digits.images[:1]
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": image.reshape(-1).tolist()}
    infer = json.dumps({"id": "one", "inputs": [tensor], "parameters": {"tolerance": 0.1}}).encode()
    line = f"POST /predict?tolerance=0.1 HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/octet-stream\r\n"
    request = f"{line}Content-Length: 784\r\n\r\n".encode() + image.tobytes()
    with running(ours("--client-seconds", "1")) as server:
        fuzzers: dict[str, tuple[bytes, Callable[[bytes], str]]] = {
            "HTTP": (request, partial(_sent, server.port)),
            "Open Inference Protocol": (infer, partial(posted, server.port, INFER, "")),
            "PNG": (png(image), partial(posted, server.port, "/predict", PNG)),
            "JPEG": (jpeg(image), partial(posted, server.port, "/predict", JPEG)),
        }
        for name, (content, send) in fuzzers.items():
            report(f"fuzzing {name}")
            dice = random.Random(f"{seed} {name}")  # noqa: S311 (no secret)
            contents = [changed(dice, content) for _ in range(requests)]
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                yield _line(name, Counter(pool.map(send, contents)))
    report("fuzzing artifacts")
    yield _line("artifact", _artifacts(random.Random(seed), round(requests * ARTIFACT_SHARE)))  # noqa: S311


def _line(name: str, outcomes: Counter[str]) -> str:
    listed = ", ".join(f"{outcome}: {count:,}" for outcome, count in sorted(outcomes.items()))
    return f"| {name} | {outcomes.total():,} | {listed} |"


def posted(port: int, path: str, media_type: str, content: bytes) -> str:
    """Post a body, and return the status of the answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request("POST", path, content, {"content-type": media_type})
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def _sent(port: int, content: bytes) -> str:
    """Send bytes to the service, and return the status of the first answer; "closed" if there is none."""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
        try:
            connection.sendall(content)
            answer = connection.recv(65_536)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        except TimeoutError:
            return "no answer"
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"


def _artifacts(dice: random.Random, count: int) -> Counter[str]:
    """Load artifacts in which a file is changed, but not its checksum. A process of its own loads them."""
    source, outcomes = newest(MLP) or MLP, Counter[str]()
    loader = _process()
    with TemporaryDirectory() as models:
        folder = Path(models, "mlp", source.name)
        for _ in range(count):
            shutil.copytree(source, folder)
            _change_a_file(dice, folder)
            try:
                outcomes[loader.submit(_loaded, folder).result(PATIENCE)] += 1
            except BrokenProcessPool:
                outcomes["the process crashed"] += 1
                loader = _process()
            shutil.rmtree(folder)
    loader.shutdown()
    return outcomes


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"))


def _change_a_file(dice: random.Random, folder: Path) -> None:
    """Change a file of an artifact, and write its new checksum into the manifest."""
    path = folder / dice.choice((MANIFEST, "stem.onnx", "head.onnx", "weights.safetensors"))
    path.write_bytes(changed(dice, path.read_bytes()))
    if path.name != MANIFEST:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][path.name] = sha256(path)
        (folder / MANIFEST).write_text(json.dumps(manifest))


def _loaded(folder: Path) -> str:
    """Load a version, and return the outcome."""
    try:
        load(folder, Settings(models=folder.parents[1], model="mlp"))
    except ArtifactError:
        return "refused"
    except Exception as error:  # noqa: BLE001 (any other exception is a finding)
        return type(error).__name__
    return "served"
