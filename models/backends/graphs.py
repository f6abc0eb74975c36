"""Functions of tensors as CUDA graphs, one graph for each power of two of rows.

A CUDA graph runs many kernels by one launch. Its tensors have a fixed place and a fixed shape, and nothing in it may
wait for the device, copy from the host or depend on values. The source of these rules is
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
"""A function from tensors to tensors. The first dimension of each tensor is the row, and each row is computed alone."""

Run = Callable[[], object]
"""Reads tensors of a fixed place, and writes tensors of a fixed place."""

WARM_UPS = 2
"""Runs before a capture. The first run loads kernels, chooses algorithms and allocates workspaces, which a capture may
not do. The second run is a reserve: torch's own examples run three times."""


class Bucket(NamedTuple):
    """A function for a fixed number of rows.

    Attributes:
        inputs: the tensors that the run reads.
        run: computes the outputs.
        outputs: the tensors that the run writes.
    """

    inputs: tuple[Tensor, ...]
    run: Run
    outputs: tuple[Tensor, ...]


class Bucketed:
    """A function that computes in buckets, whose numbers of rows are powers of two.

    A call copies its inputs into the smallest bucket that has room for them. The rest of the bucket holds rows of
    earlier calls, whose results are ignored. One thread at a time may call the function.

    Args:
        function: the function.
        examples: a tensor for each argument of the function, with the argument's type and device, and with its shape
            except for the number of rows.
        capture: makes a faster run of the same work, such as `captured`.
    """

    def __init__(self, function: Function, examples: Sequence[Tensor], capture: Callable[[Run], Run]) -> None:
        self._function, self._examples, self._capture = function, examples, capture
        self._buckets: dict[int, Bucket] = {}

    def prepare(self, rows: int) -> None:
        """Make the buckets for up to a number of rows, the largest first, so that the others use its memory."""
        for power in reversed(range((rows - 1).bit_length() + 1)):
            self._bucket(1 << power)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Call the function.

        Args:
            inputs: the arguments, all with the same number of rows, at least one. They may be on another device.

        Returns:
            The results, which are valid until the next call.
        """
        rows = len(inputs[0])
        bucket = self._bucket(1 << (rows - 1).bit_length())
        for place, values in zip(bucket.inputs, inputs, strict=True):
            place[:rows].copy_(values)
        bucket.run()
        return tuple(output[:rows] for output in bucket.outputs)

    def _bucket(self, rows: int) -> Bucket:
        if rows not in self._buckets:
            self._buckets[rows] = self._make_bucket(rows)
        return self._buckets[rows]

    def _make_bucket(self, rows: int) -> Bucket:
        """Make a bucket. Its outputs are copies, so that the memory of the computation is free after each run."""
        inputs = tuple(example.new_zeros(rows, *example.shape[1:]) for example in self._examples)
        outputs = tuple(torch.empty_like(result) for result in self._function(*inputs))

        def run() -> None:
            for output, result in zip(outputs, self._function(*inputs), strict=True):
                output.copy_(result)

        return Bucket(inputs, self._capture(run), outputs)


def captured(run: Run) -> Run:
    """Capture a run as a CUDA graph, and return the replay of the graph.

    All graphs of the process share one pool of memory. This is safe, because they are replayed one after another on one
    stream, and no result stays in the pool. So a new version of a model takes the memory of the earlier versions. Other
    threads may use the device during a capture.
    """
    stream, pool = _stream_and_pool()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):  # waits for the warm-up first
        run()
    return graph.replay


@cache
def _stream_and_pool() -> tuple[torch.cuda.Stream, Any]:
    """The stream of all captures, and the memory of all graphs.

    With a stream for each capture, torch would keep workspaces and free memory for each of them.
    """
    return torch.cuda.Stream(), torch.cuda.graph_pool_handle()  # type: ignore[no-untyped-call]
