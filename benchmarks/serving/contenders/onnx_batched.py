"""Contender (d): the graph of contender (c) with dynamic batching: requests that arrive together form a batch.

Every row has its own tolerance, but a row cannot leave the graph early, so a batch takes as long as its slowest row.
Each processor computes its own batch. We measured the alternative, in which two processors share a batch. If all
requests are alike, the alternative answers a tenth more requests. If their tolerances differ, it answers little more
than half as many. Under an uneven load its latency is higher.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI

from benchmarks.serving.contenders.common import (
    Answer,
    Body,
    Floats,
    Images,
    Integers,
    Tolerance,
    answer_of,
    default_tolerance,
    load,
    run,
    threads,
    whole_solve,
)

LARGEST_BATCH = 32
WAIT = 0.001
"""Seconds that a batch waits for more rows after its first row."""

SLOTS = "CONTENDER_SLOTS"
"""Environment variable: the number of batches that are solved at the same time."""


class Waiting(NamedTuple):
    """A request that waits for its answer."""

    images: Images
    tolerance: float
    answer: asyncio.Future[tuple[Floats, Integers]]


class Batcher:
    """Collects requests and solves them in batches.

    Args:
        session: the graph.
        slots: the number of batches that are solved at the same time.
    """

    def __init__(self, session: ort.InferenceSession, slots: int) -> None:
        self._session = session
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._slots = asyncio.Semaphore(slots)
        self._threads = ThreadPoolExecutor(slots)
        self._solving: set[asyncio.Task[None]] = set()

    async def ask(self, images: Images, tolerance: float) -> tuple[Floats, Integers]:
        """The logits and function evaluations of a request's images."""
        answer: asyncio.Future[tuple[Floats, Integers]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Waiting(images, tolerance, answer))
        return await answer

    async def run(self) -> None:
        """Solve one batch after another. Requests queue while every slot is taken."""
        while True:
            await self._slots.acquire()
            task = asyncio.create_task(self._solve(await self._collect()))
            self._solving.add(task)
            task.add_done_callback(self._solving.discard)

    async def _collect(self) -> list[Waiting]:
        batch = [await self._queue.get()]
        rows, loop = len(batch[0].images), asyncio.get_running_loop()
        end = loop.time() + WAIT
        while rows < LARGEST_BATCH:
            try:
                waiting = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                try:
                    waiting = await asyncio.wait_for(self._queue.get(), end - loop.time())
                except TimeoutError:
                    break
            batch.append(waiting)
            rows += len(waiting.images)
        return batch

    async def _solve(self, batch: list[Waiting]) -> None:
        images = np.concatenate([waiting.images for waiting in batch])
        counts = [len(waiting.images) for waiting in batch]
        tolerances = np.repeat(np.array([waiting.tolerance for waiting in batch], np.float32), counts)
        try:
            loop = asyncio.get_running_loop()
            logits, nfe = await loop.run_in_executor(self._threads, run, self._session, images, tolerances)
        except Exception as error:  # noqa: BLE001 (every caller of the batch gets the error)
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        finally:
            self._slots.release()
        ends = np.cumsum(counts)[:-1]
        answers = zip(np.split(logits, ends), np.split(nfe, ends), strict=True)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.cancelled():
                waiting.answer.set_result(answer)


def create_app() -> FastAPI:
    """The application."""
    artifact = load()
    default = default_tolerance(artifact)
    batcher = Batcher(whole_solve(artifact, threads(1)), int(os.environ.get(SLOTS, os.cpu_count() or 1)))

    @asynccontextmanager
    async def batching(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    app = FastAPI(lifespan=batching)

    @app.post("/predict")
    async def predict(images: Body, tolerance: Tolerance = None) -> Answer:
        """Classify images."""
        return answer_of(*await batcher.ask(images, tolerance or default))

    return app
