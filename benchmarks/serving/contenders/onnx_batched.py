"""Contender (d): the same graph with dynamic batching: what arrives within a moment is solved as one batch.

Every row has its own tolerance, but a graph cannot let rows leave: a batch takes as long as its slowest row. Each
processor computes on a batch of its own. Measured on two, both on the same batch answer a tenth more of what is all
alike, but not much more than half of a mix of tolerances, and later where the load is not always the same.
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
    default_tolerance,
    load,
    run,
    threads,
    told,
    whole_solve,
)

LARGEST_BATCH = 32
WAIT = 0.001
"""Seconds from the first row of a batch until it is solved, full or not."""

SLOTS = "CONTENDER_SLOTS"
"""Environment variable: batches solved at the same time."""


class Asked(NamedTuple):
    """A request that waits for its answer."""

    images: Images
    tolerance: float
    answer: asyncio.Future[tuple[Floats, Integers]]


class Batcher:
    """Gathers requests and solves them together.

    Args:
        session: the graph.
        slots: batches solved at the same time.
    """

    def __init__(self, session: ort.InferenceSession, slots: int) -> None:
        self._session = session
        self._queue: asyncio.Queue[Asked] = asyncio.Queue()
        self._slots = asyncio.Semaphore(slots)
        self._threads = ThreadPoolExecutor(slots)
        self._solving: set[asyncio.Task[None]] = set()

    async def ask(self, images: Images, tolerance: float) -> tuple[Floats, Integers]:
        """The logits and function evaluations of a request's images."""
        answer: asyncio.Future[tuple[Floats, Integers]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(Asked(images, tolerance, answer))
        return await answer

    async def run(self) -> None:
        """Solve batch after batch; requests gather while every slot is taken."""
        while True:
            await self._slots.acquire()
            task = asyncio.create_task(self._solve(await self._gather()))
            self._solving.add(task)
            task.add_done_callback(self._solving.discard)

    async def _gather(self) -> list[Asked]:
        batch = [await self._queue.get()]
        rows, loop = len(batch[0].images), asyncio.get_running_loop()
        end = loop.time() + WAIT
        while rows < LARGEST_BATCH:
            try:
                asked = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                try:
                    asked = await asyncio.wait_for(self._queue.get(), end - loop.time())
                except TimeoutError:
                    break
            batch.append(asked)
            rows += len(asked.images)
        return batch

    async def _solve(self, batch: list[Asked]) -> None:
        images = np.concatenate([asked.images for asked in batch])
        counts = [len(asked.images) for asked in batch]
        tolerances = np.repeat(np.array([asked.tolerance for asked in batch], np.float32), counts)
        try:
            loop = asyncio.get_running_loop()
            logits, nfe = await loop.run_in_executor(self._threads, run, self._session, images, tolerances)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the answer to each)
            for asked in batch:
                asked.answer.set_exception(error)
            return
        finally:
            self._slots.release()
        ends = np.cumsum(counts)[:-1]
        answers = zip(np.split(logits, ends), np.split(nfe, ends), strict=True)
        for asked, answer in zip(batch, answers, strict=True):
            if not asked.answer.cancelled():
                asked.answer.set_result(answer)


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
        return told(*await batcher.ask(images, tolerance or default))

    return app
