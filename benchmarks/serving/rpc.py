"""gRPC against REST: the same service, the same images, raw bodies, in closed loops.

    python -m benchmarks.serving.rpc [--seconds SECONDS] [--rounds ROUNDS] [--model NAME]

One service answers both protocols. The loads alternate, and the table shows the medians over the rounds. The load
generator is a process of its own, on the processors of the service. For both protocols, it writes bytes that it has
prepared to its sockets, and reads no more of an answer than it must; the table shows its processor time too.

"gRPC, one connection" sends all calls over one connection, as most clients do. A connection belongs to one process of
the service.

The floors are servers of one process that compute nothing: an ASGI function, and a call of grpc.aio. They show what
each protocol costs in Python. Prints Markdown.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median
from typing import Annotated, NamedTuple

import typer
from tritonclient.grpc.service_pb2 import ModelInferRequest

from benchmarks.serving import load
from benchmarks.serving.contenders.empty_call import GRPC_PORT, METHOD, SERVICE
from benchmarks.serving.forms import UNREAD, Form, Images, MultiplexedRpcForm, RpcForm, pixels
from benchmarks.serving.metrics import read_metrics
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import summarise
from benchmarks.serving.servers import Server, contender, free_port, ours, running
from training.data import load as load_dataset

CALL = "/inference.GRPCInferenceService/ModelInfer"
WARM_UP = 0.5
MANY = 32
HEADINGS = (
    "protocol",
    "requests at a time",
    "images/s",
    "relative to HTTP",
    "p50, ms",
    "processor time of the server, µs",
    "of the load generator, µs",
    "images in a batch",
)


class Speed(NamedTuple):
    """The result of a load.

    Attributes:
        throughput: answered images per second.
        p50: median latency in milliseconds.
        processor_us: the processor time of the server for a request, in microseconds.
        generator_us: the processor time of the load generator for a request, in microseconds.
        batch: the mean number of images in an iteration of the engine; 0 if the server has no engine.
    """

    throughput: float
    p50: float
    processor_us: float
    generator_us: float
    batch: float = 0


class Target(NamedTuple):
    """What is measured: a server, a port of it, the format of the requests, and whether it has an engine."""

    server: Server
    port: int
    form: Form
    has_engine: bool = False


def main(
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds of each measurement.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The median is reported.")] = 3,
    model: Annotated[str, typer.Option(help="The model that answers.")] = "odenet-mnist",
) -> None:
    """Measure gRPC and REST, and the floors of both, with one request at a time and with 32."""
    images, labels = load_dataset().test
    digits = Digits(images.numpy(), labels.numpy())
    raw = (("Inference-Header-Content-Length", "0"),)
    rest = Form(f"/v2/models/{model}/infer", UNREAD.content_type, pixels, None, raw)
    rpc, shared = (form(CALL, "", partial(message, model), None) for form in (RpcForm, MultiplexedRpcForm))
    empty_call = RpcForm(f"/{SERVICE}/{METHOD}", "", pixels, None)
    port, floor_port = free_port(), free_port()
    floors = contender("empty_call", "floors", "--workers", "1", **{GRPC_PORT: str(floor_port)})
    typer.echo(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    with running(ours("--grpc-port", str(port))) as server, running(floors) as floor, load.process() as loader:
        both = {
            "REST": Target(server, server.port, rest, has_engine=True),
            "gRPC": Target(server, port, rpc, has_engine=True),
        }
        floor_of_both = {
            "floor: ASGI function": Target(floor, floor.port, UNREAD),
            "floor: grpc.aio": Target(floor, floor_port, empty_call),
        }
        one_connection = {"gRPC, one connection": Target(server, port, shared, has_engine=True)}
        for requests, targets in (
            (1, both),
            (MANY, both | one_connection),
            (1, floor_of_both),
            (MANY, floor_of_both),
        ):
            compare(targets, requests, rounds, partial(speed, loader, digits, Closed(requests, seconds, WARM_UP)))


def compare(targets: dict[str, Target], requests: int, rounds: int, measure: Callable[[Target], Speed]) -> None:
    """Measure targets in turn, and print a line for each, relative to the first."""
    runs: dict[str, list[Speed]] = {name: [] for name in targets}
    for _ in range(rounds):
        for name, target in targets.items():
            runs[name].append(measure(target))
    first = next(iter(runs.values()))
    for name, each in runs.items():
        typer.echo(row(name, requests, each, first))


def speed(loader: ProcessPoolExecutor, digits: Digits, closed: Closed, target: Target) -> Speed:
    """Load a target with a closed loop.

    Raises:
        RuntimeError: a request failed.
    """
    batches, before = batch_sums(target), sum(target.server.processor_seconds().values())
    plan = Plan(target.port, closed, (Kind(form=target.form),))
    result = loader.submit(load.measure, plan, digits).result()
    spent = sum(target.server.processor_seconds().values()) - before
    images, iterations = (after - earlier for after, earlier in zip(batch_sums(target), batches, strict=True))
    summary = summarise(result)
    if summary.failed:
        raise RuntimeError(f"{target.form.path}: requests failed: {summary.failed}")
    return Speed(
        summary.throughput,
        summary.p50,
        1e6 * spent / len(result.status),
        result.cpu_microseconds_per_request,
        images / iterations if iterations else 0,
    )


def batch_sums(target: Target) -> tuple[float, float]:
    """The images in all iterations of the engine so far, and the number of iterations; zeros without an engine."""
    if not target.has_engine:
        return 0, 0
    metrics = read_metrics(target.server)
    return metrics.count("odenet_batch_rows_sum"), metrics.count("odenet_batch_rows_count")


def message(model: str, images: Images) -> bytes:
    """A request with raw grey levels."""
    request = ModelInferRequest(model_name=model, raw_input_contents=[images.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=images.shape)
    content: bytes = request.SerializeToString()
    return content


def row(name: str, requests: int, runs: list[Speed], http: list[Speed]) -> str:
    """A line of the table."""
    middle = Speed(*(median(column) for column in zip(*runs, strict=True)))
    ratio = median(mine.throughput / theirs.throughput for mine, theirs in zip(runs, http, strict=True))
    cells = (
        name,
        f"{requests}",
        f"{middle.throughput:,.0f}",
        f"{ratio:.2f}",
        f"{middle.p50:.2f}",
        f"{middle.processor_us:,.0f}",
        f"{middle.generator_us:,.0f}",
        f"{middle.batch:.1f}" if middle.batch else "",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
