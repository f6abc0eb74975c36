"""BentoML with adaptive batching and two workers.

Source: the pages Services, Workers and Adaptive batching of BentoML's documentation.
"""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
import numpy.typing as npt
from solve import LARGEST_BATCH, PROCESSES, Solve, port


@bentoml.service(workers=PROCESSES, logging={"access": {"enabled": False}})
class Digits:
    """Classifies images."""

    def __init__(self) -> None:
        self.solve = Solve()

    @bentoml.api(batchable=True, max_batch_size=LARGEST_BATCH, max_latency_ms=1000)
    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The probabilities of the images of a batch."""
        shares: npt.NDArray[np.float32] = self.solve(images)[0]
        return shares


if __name__ == "__main__":
    folder = str(Path(__file__).parent)
    bento = [sys.executable, "-m", "bentoml", "serve", "serve:Digits", "--working-dir", folder]
    os.execv(sys.executable, [*bento, "--host", "127.0.0.1", "--port", str(port())])  # noqa: S606 (this process becomes the server)
