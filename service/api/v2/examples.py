"""Example requests for the OpenAPI document."""

from typing import Any

from service.api.examples import SEVEN

PICTURE = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [SEVEN]}

INFER_EXAMPLES: dict[str, Any] = {
    "picture": {
        "summary": "A seven as a PNG in base64, at a tolerance",
        "value": {"id": "seven", "parameters": {"tolerance": 1e-3}, "inputs": [PICTURE]},
    },
    "classification": {
        "summary": "The three most probable digits, and the evaluations of f that the answer took",
        "value": {
            "inputs": [PICTURE],
            "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}, {"name": "nfe"}],
        },
    },
}
