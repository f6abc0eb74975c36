"""LitServe with batching and two workers on the CPU.

LitServe's option `fast_queue` is off, because with this option LitServe answered fewer requests on two processors.

Source: the pages LitAPI, LitServer and Batching of LitServe's documentation.
"""

from typing import Any

import litserve
import numpy as np
from solve import LARGEST_BATCH, PROCESSES, WAIT, Images, Solve, port


class Digits(litserve.LitAPI):
    """Classifies the images of each request."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe passes it)
        """Load the graph."""
        self.solve = Solve()

    def decode_request(self, request: dict[str, Any]) -> Images:
        """The image of a request."""
        (image,) = request["images"]
        return np.array(image, np.uint8)

    def batch(self, inputs: list[Images]) -> Images:
        """The images of all requests of a batch."""
        return np.stack(inputs)

    def predict(self, x: Images) -> list[tuple[list[float], int]]:
        """The probabilities and the function evaluations of each image."""
        probabilities, nfe = self.solve(x)
        return list(zip(probabilities.tolist(), nfe.tolist(), strict=True))

    def unbatch(self, output: list[tuple[list[float], int]]) -> list[tuple[list[float], int]]:
        """The answers of a batch, one for each request."""
        return output

    def encode_response(self, output: tuple[list[float], int]) -> dict[str, Any]:
        """The answer to a request."""
        probabilities, nfe = output
        return {"probabilities": [probabilities], "nfe": [nfe]}


if __name__ == "__main__":
    api = Digits(max_batch_size=LARGEST_BATCH, batch_timeout=WAIT, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=PROCESSES)
    server.run(host="127.0.0.1", port=port(), log_level="warning", generate_client_file=False)
