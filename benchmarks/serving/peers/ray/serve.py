"""Ray Serve with dynamic request batching and two replicas.

Source: the pages Dynamic Request Batching and Performance Tuning of Ray Serve's documentation.
"""

import signal
from typing import Any

import numpy as np
import ray
from ray import serve
from solve import LARGEST_BATCH, PROCESSES, WAIT, Solve, folder, port
from starlette.requests import Request


@serve.deployment(
    num_replicas=PROCESSES, max_ongoing_requests=2 * LARGEST_BATCH, logging_config={"enable_access_log": False}
)
class Digits:
    """Classifies the images of a batch."""

    def __init__(self) -> None:
        self.solve = Solve()

    @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=WAIT)
    async def classify(self, bodies: list[bytes]) -> list[dict[str, Any]]:
        """The probabilities and the function evaluations of the image of each body."""
        images = np.frombuffer(b"".join(bodies), np.uint8).reshape(-1, 28, 28)
        probabilities, nfe = self.solve(images)
        rows = zip(probabilities.tolist(), nfe.tolist(), strict=True)
        return [{"probabilities": [row], "nfe": [evaluations]} for row, evaluations in rows]

    async def __call__(self, request: Request) -> dict[str, Any]:
        """The answer to a request with one image as raw bytes."""
        answer: dict[str, Any] = await self.classify(await request.body())
        return answer


if __name__ == "__main__":
    ray.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, _temp_dir=str(folder()))
    serve.start(http_options={"host": "127.0.0.1", "port": port()})
    serve.run(Digits.bind(), route_prefix="/predict")  # type: ignore[attr-defined]
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
