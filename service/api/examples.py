"""Example requests for the OpenAPI document. Each summary describes the answer."""

import base64
from typing import Any

from service.images.decode import decode

SEVEN = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAwUlEQVR42mNgGDaAEUKFpD77sfTFHeyS9xQYGBg+X4UKPuk6w8DAwMDAAuGm6l/T"
    "MnSweCzLwPDntSTDozPIOhkYGBgYBA3PmDIw/Lh1XShnGi5nBP+9KIRLTuzl/2AokwlDMlv0/U1cGq1//rPD6fHWf7tZcclxnv1hhVNj3b9tOOW8"
    "f3+wxCUnfPffMlxyzKf/3VbGJan2758vLjn5B/+KGXF78Z8JLjnbT+iSSGFrw8Nw9wuKJAsy56LzO+ITGABpETyQcCy90wAAAABJRU5ErkJggg=="
)
"""The first digit of MNIST's test set, a seven, as a PNG of 28x28."""

PREDICT_EXAMPLES: dict[str, Any] = {
    "picture": {
        "summary": "A seven as a PNG in base64, with the default settings",
        "value": {"images": [SEVEN]},
    },
    "tight": {
        "summary": "The same, solved tightly",
        "value": {"images": [SEVEN], "tolerance": 1e-5},
    },
    "fixed": {
        "summary": "The same, by four steps of a fixed-step method",
        "value": {"images": [SEVEN], "method": "rk4", "steps": 4},
    },
    "pixels": {
        "summary": "The same as 28 rows of 28 grey levels, by another adaptive method",
        "value": {
            "images": [decode(base64.b64decode(SEVEN), max_pixels=784).tolist()],
            "method": "dopri5",
            "rtol": 1e-3,
            "atol": 1e-4,
        },
    },
}
