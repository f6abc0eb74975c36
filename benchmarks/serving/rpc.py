"""gRPC against REST: the same service, the same images, raw bodies, in closed loops.

    python -m benchmarks.serving.rpc [--seconds SECONDS] [--rounds ROUNDS] [--model NAME]

One service answers both protocols. The loads alternate, and the table shows the medians over the rounds. The load
generators run in a process of their own, on the processors of the service. The generator for REST writes bytes to
sockets; the generator for gRPC is grpcio's asynchronous client, which takes more processor time. So the table also
shows the processor time of the service alone. Prints Markdown.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from grpc import aio
from tritonclient.grpc.service_pb2 import ModelInferRequest

from benchmarks.serving import load
from benchmarks.serving.forms import UNREAD, Form, pixels
from benchmarks.serving.plan import HOST, Closed, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import summarise
from benchmarks.serving.servers import Server, ours, running
from training.data import load as load_dataset

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
"""With this option, each channel has a connection of its own, as each client would."""

WARM_UP = 0.5
CONNECTIONS = (1, 32)
HEADINGS = ("protocol", "connections", "images/s", "relative to REST", "p50, ms", "processor time of the service, µs")
MOST_MESSAGES = 1000
"""How many different images the generator for gRPC sends, again and again."""


class Speed(NamedTuple):
    """The result of a load.

    Attributes:
        throughput: answered images per second.
        p50: median latency in milliseconds.
        processor_us: the processor time of the service for a request, in microseconds.
    """

    throughput: float
    p50: float
    processor_us: float


def main(
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds of each measurement.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The median is reported.")] = 3,
    model: Annotated[str, typer.Option(help="The model that answers.")] = "odenet-mnist",
) -> None:
    """Measure gRPC and REST at one connection and at 32."""
    images, labels = load_dataset().test
    digits = Digits(images.numpy(), labels.numpy())
    raw = (("Inference-Header-Content-Length", "0"),)
    kind = Kind(form=Form(f"/v2/models/{model}/infer", UNREAD.content_type, pixels, None, raw))
    grpc_port = free_port()
    typer.echo(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    with running(ours("--grpc-port", str(grpc_port))) as server, load.process() as loader:
        for connections in CONNECTIONS:
            closed = Closed(connections, seconds, WARM_UP)
            plan = Plan(server.port, closed, (kind,))
            protocols: dict[str, Callable[[], Speed]] = {
                "REST": partial(by_rest, server, loader, plan, digits),
                "gRPC": partial(by_grpc, server, loader, closed, grpc_port, messages(model, digits)),
            }
            runs: dict[str, list[Speed]] = {name: [] for name in protocols}
            for _ in range(rounds):
                for name, measure in protocols.items():
                    runs[name].append(measure())
            for name in protocols:
                typer.echo(row(name, connections, runs[name], runs["REST"]))


def by_rest(server: Server, loader: ProcessPoolExecutor, plan: Plan, digits: Digits) -> Speed:
    """Load the service through REST."""
    before = sum(server.processor_seconds().values())
    result = loader.submit(load.measure, plan, digits).result()
    spent = sum(server.processor_seconds().values()) - before
    summary = summarise(result)
    if summary.failed:
        raise RuntimeError(f"REST: requests failed: {summary.failed}")
    return Speed(summary.throughput, summary.p50, 1e6 * spent / len(result.status))


def by_grpc(server: Server, loader: ProcessPoolExecutor, closed: Closed, port: int, requests: list[bytes]) -> Speed:
    """Load the service through gRPC."""
    before = sum(server.processor_seconds().values())
    latencies, answered = loader.submit(run_calls, closed, port, requests).result()
    spent = sum(server.processor_seconds().values()) - before
    return Speed(len(latencies) / closed.seconds, 1e3 * float(np.median(latencies)), 1e6 * spent / answered)


def run_calls(closed: Closed, port: int, requests: list[bytes]) -> tuple[list[float], int]:
    """Run a closed loop of gRPC calls, in this process.

    Returns:
        The latencies of the calls that were answered after the warm-up, in seconds, and the number of all calls.

    Raises:
        grpc.RpcError: a call failed.
    """
    return asyncio.run(_run_calls(closed, port, requests))


async def _run_calls(closed: Closed, port: int, requests: list[bytes]) -> tuple[list[float], int]:
    began = time.perf_counter()
    since, until = began + closed.warm_up, began + closed.length
    latencies, answered = list[float](), 0

    async def client(first: int) -> None:
        nonlocal answered
        number = first
        async with aio.insecure_channel(f"{HOST}:{port}", OWN_CONNECTION) as channel:
            call: Any = channel.unary_unary(METHOD)  # without a serialiser, messages are bytes
            while (sent := time.perf_counter()) < until:
                await call(requests[number % len(requests)])
                number += closed.connections
                answered += 1
                if since <= (now := time.perf_counter()) < until:
                    latencies.append(now - sent)

    await asyncio.gather(*(client(first) for first in range(closed.connections)))
    return latencies, answered


def messages(model: str, digits: Digits) -> list[bytes]:
    """Requests with one image each."""
    template = ModelInferRequest(model_name=model)
    template.inputs.add(name="image", datatype="UINT8", shape=[1, *digits.images.shape[1:]])
    requests = []
    for image in digits.images[:MOST_MESSAGES]:
        request = ModelInferRequest(raw_input_contents=[image.tobytes()])
        request.MergeFrom(template)
        requests.append(request.SerializeToString())
    return requests


def row(name: str, connections: int, runs: list[Speed], rest: list[Speed]) -> str:
    """A line of the table."""
    throughput, p50, processor = (median(column) for column in zip(*runs, strict=True))
    ratio = median(mine.throughput / theirs.throughput for mine, theirs in zip(runs, rest, strict=True))
    cells = (name, f"{connections}", f"{throughput:,.0f}", f"{ratio:.2f}", f"{p50:.2f}", f"{processor:,.0f}")
    return f"| {' | '.join(cells)} |"


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    typer.run(main)
