"""Contender (c): onnxruntime on the graph of the whole solve, without batching.

FastAPI's thread pool runs many requests at the same time, each on one thread. We measured two alternatives, two threads
per operator and one request per processor. Both answer fewer requests.
"""

import numpy as np
from fastapi import FastAPI

from benchmarks.serving.contenders.common import (
    Answer,
    Body,
    Tolerance,
    answer_of,
    default_tolerance,
    load,
    run,
    threads,
    whole_solve,
)


def create_app() -> FastAPI:
    """The application."""
    artifact = load()
    session = whole_solve(artifact, threads(1))
    default = default_tolerance(artifact)
    app = FastAPI()

    @app.post("/predict")
    def predict(images: Body, tolerance: Tolerance = None) -> Answer:
        """Classify images."""
        return answer_of(*run(session, images, np.full(len(images), tolerance or default, np.float32)))

    return app
