"""The graph of the whole solve in onnxruntime, as every peer runs it."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

GRAPH, TOLERANCE, PORT, FOLDER = "PEER_GRAPH", "PEER_TOLERANCE", "PEER_PORT", "PEER_FOLDER"
"""Environment variables: the graph, the tolerance of each solve, the port to listen on, and an empty folder."""

PROCESSES = 2
"""How many processes or instances of the model a peer has: one for each processor of the benchmark."""

LARGEST_BATCH = 32
WAIT = 0.002
"""Seconds that a batch waits for more requests, if the peer has a setting for this time."""

Images = npt.NDArray[np.uint8]


class Solve:
    """Classifies images on one thread, at the model's default tolerance."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(os.environ[GRAPH], options, providers=["CPUExecutionProvider"])
        self._tolerance = np.float32(os.environ[TOLERANCE])

    def __call__(self, images: Images) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The probabilities ``[rows, 10]`` and the function evaluations ``[rows]`` of images ``[rows, 28, 28]``."""
        tolerances = np.full(len(images), self._tolerance)
        logits, nfe = self._session.run(["logits", "nfe"], {"image": images, "rtol": tolerances, "atol": tolerances})
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True), nfe


def port() -> int:
    """The port to listen on."""
    return int(os.environ[PORT])


def folder() -> Path:
    """An empty folder for the files of the peer. The benchmark removes it."""
    return Path(os.environ[FOLDER])
