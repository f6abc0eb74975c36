"""The model of Triton's Python backend."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from solve import Solve


class TritonPythonModel:
    """Classifies the images of all requests of a batch."""

    def initialize(self, args: dict[str, str]) -> None:  # noqa: ARG002 (Triton passes it)
        """Load the graph."""
        self.solve = Solve()

    def execute(self, requests: list[Any]) -> list[Any]:
        """The probabilities and the function evaluations of each image."""
        inputs = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        probabilities, nfe = self.solve(np.concatenate(inputs))
        responses, start = [], 0
        for images in inputs:
            rows = slice(start, start := start + len(images))
            outputs = [
                pb_utils.Tensor("probabilities", probabilities[rows]),
                pb_utils.Tensor("nfe", nfe[rows, None]),
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=outputs))
        return responses
