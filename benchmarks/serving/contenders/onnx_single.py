"""Contender (c): onnxruntime on the graph with the whole solve inside, a request at a time.

As many requests as FastAPI has threads are in the graph at once, each on one thread: measured, that answers more than
two threads to an operator, and more than as many requests as there are processors.
"""

import numpy as np
from fastapi import FastAPI

from benchmarks.serving.contenders.common import (
    Answer,
    Body,
    Tolerance,
    default_tolerance,
    load,
    run,
    threads,
    told,
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
        return told(*run(session, images, np.full(len(images), tolerance or default, np.float32)))

    return app
