"""Contender (b): the torch network and torchdiffeq, one request at a time.

The contender computes on one thread, because one image is too little work to share. On two processors at 32
connections, a contender with two threads per operator answers a third of the requests that one thread answers. With 40
requests at a time, FastAPI's default, the contender answers less than a third.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import torch
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from torch import Tensor
from torchdiffeq import odeint

from benchmarks.serving.contenders.common import Answer, Body, Tolerance, answer_of, load, threads
from models.backends.torch import load_network
from models.networks.odenet import ODENet

TOLERANCE = 1e-3
INTERVAL = torch.tensor([0.0, 1.0])


@asynccontextmanager
async def _one_at_a_time(_: FastAPI) -> AsyncIterator[None]:
    """Compute one request at a time, because requests at the same time would only compete for the interpreter lock."""
    current_default_thread_limiter().total_tokens = 1
    yield


def create_app() -> FastAPI:
    """The application."""
    network = load_network(load())
    if not isinstance(network, ODENet):
        raise TypeError("the network solves no ODE")
    network.eval().requires_grad_(False)
    torch.set_num_threads(threads(1))
    app = FastAPI(lifespan=_one_at_a_time)

    @app.post("/predict")
    def predict(images: Body, tolerance: Tolerance = None) -> Answer:
        """Classify images. All images of a body are solved with the same steps."""
        evaluations = 0

        def derivative(t: Tensor, z: Tensor) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            change: Tensor = network.dynamics(t.expand(len(z)), z)
            return change

        with torch.inference_mode():
            z = network.stem(torch.from_numpy(images.copy()))
            precision = tolerance or TOLERANCE
            end = odeint(derivative, z, INTERVAL, rtol=precision, atol=precision, method="dopri5")[-1]
            logits = network.head(end).numpy()
        return answer_of(logits, np.full(len(images), evaluations))

    return app
