"""The code that all contenders share: loading the artifact, parsing the body, and the format of the answer."""

import json
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from fastapi import Depends, HTTPException, Query, Request
from pydantic import BaseModel

from models.artifact import SOLVE, Artifact, newest, read

MODEL = Path(__file__).parents[3] / "models" / "fitted" / "odenet-mnist"
SIDE = 28
ANSWER = b" " * 600
"""The body that the floors return. An answer of the service to one image has about as many bytes."""

GRAPH, THREADS = "CONTENDER_GRAPH", "CONTENDER_THREADS"
"""Environment variables: a graph to use instead of the artifact's whole-solve graph, and the threads per operator."""

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Solver(BaseModel):
    """The cost of an answer, in function evaluations."""

    nfe: int


class Prediction(BaseModel):
    """The answer to one image."""

    digit: int
    probabilities: list[float]
    solver: Solver


class Answer(BaseModel):
    """The answer to a request."""

    predictions: list[Prediction]


async def _images(request: Request) -> Images:
    body = await request.body()
    if request.headers.get("content-type") == "application/json":
        return np.array(json.loads(body)["images"], np.uint8)
    pixels = np.frombuffer(body, np.uint8)
    if len(pixels) == 0 or len(pixels) % SIDE**2:
        raise HTTPException(400, f"the body has {len(pixels)} bytes; an image has {SIDE**2}")
    return pixels.reshape(-1, SIDE, SIDE)


Body = Annotated[Images, Depends(_images)]
"""The images of a body: raw pixels, or JSON with the images as rows of grey levels."""

Tolerance = Annotated[float | None, Query(gt=0)]
"""The tolerance of the solve, if the request has one."""


def load() -> Artifact:
    """The artifact that the service serves by default."""
    folder = newest(MODEL)
    if folder is None:
        raise FileNotFoundError(f"{MODEL}: has no version")
    return read(folder)


def default_tolerance(artifact: Artifact) -> float:
    """The tolerance of the artifact's default solver."""
    solver = artifact.manifest.default_solver
    return 1e-3 if solver is None or solver.rtol is None else solver.rtol


def threads(default: int) -> int:
    """The threads per operator, from the environment or a default; 0 lets the library choose."""
    return int(os.environ.get(THREADS, default))


def whole_solve(artifact: Artifact, intra_op_threads: int) -> ort.InferenceSession:
    """A session of the graph from images and tolerances to logits: the artifact's, or the one that `GRAPH` names."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph = os.environ.get(GRAPH, artifact.folder / SOLVE)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, images: Images, tolerances: Floats) -> tuple[Floats, Integers]:
    """The logits and the function evaluations of images, each solved at its own tolerance."""
    inputs = {"image": images, "rtol": tolerances, "atol": tolerances}
    logits, nfe = session.run(["logits", "nfe"], inputs)
    return logits, nfe


def answer_of(logits: Floats, nfe: Integers) -> Answer:
    """The answer to a request, from the logits and the function evaluations of its images."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = (exponentials / exponentials.sum(axis=1, keepdims=True)).tolist()
    rows = zip(logits.argmax(axis=1).tolist(), shares, nfe.tolist(), strict=True)
    return Answer(
        predictions=[
            Prediction(digit=digit, probabilities=probabilities, solver=Solver(nfe=evaluations))
            for digit, probabilities, evaluations in rows
        ]
    )
