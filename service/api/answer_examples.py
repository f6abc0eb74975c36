"""An example of a good answer of each route, for the OpenAPI document. Each is shortened: real lists may be longer."""

from typing import Any

LOOSE = {"method": "heun2", "rtol": 1.0, "atol": 1.0, "steps": None}
DEFAULT = {"method": "bosh3", "rtol": 0.1, "atol": 0.1, "steps": None}
TIGHT = {"method": "bosh3", "rtol": 0.001, "atol": 0.001, "steps": None}
REFERENCE = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-6, "steps": None}

MEASURED = {
    "split": "test",
    "solver": DEFAULT,
    "nfe": 4.0,
    "errors": 39,
    "rows": 10000,
    "rate": 0.0039,
    "interval": [0.0029, 0.0053],
    "uncalibrated": {"nll": 0.0141, "ece": 0.0027},
    "calibrated": {"nll": 0.0128, "ece": 0.0014},
}

SUMMARY = {
    "name": "odenet-mnist",
    "version": "5",
    "default": True,
    "network": "odenet-wide",
    "parameters": 212026,
    "methods": ["heun2", "bosh3", "dopri5"],
    "default_solver": DEFAULT,
    "metrics": [MEASURED],
}

DETAILS = {
    "manifest": {
        "schema_version": 5,
        "name": "odenet-mnist",
        "version": "5",
        "network": "odenet-wide",
        "parameters": 212026,
        "dataset": "mnist",
        "classes": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        "normalisation": {"mean": 0.1307, "std": 0.3082, "levels": "stretched"},
        "state_shape": [96, 6, 6],
        "methods": ["heun2", "bosh3", "dopri5"],
        "default_solver": DEFAULT,
        "temperature": 0.8616,
        "recipe": {"network": "odenet-wide", "epochs": 6, "batch_size": 128},
        "metrics": [MEASURED],
        "files": {"stem.onnx": "2f110b9c7d30044d855b98a17089cfe323ff9e28198fa948e1d2275ff4dcdedc"},
    },
    "profile": {
        "split": "validation",
        "rows": 5000,
        "batch_size": 64,
        "processor": "x86_64, AVX512",
        "reference": REFERENCE,
        "points": [
            {
                "solver": TIGHT,
                "error": 0.0032,
                "agreement": 1.0,
                "logit_deviation": 0.0053,
                "nfe": {"mean": 16.1, "p50": 16, "p90": 16, "p99": 19, "max": 22},
                "rejected": 0.03,
                "unconverged": 0,
                "milliseconds_per_row": 2.2,
            }
        ],
        "ladders": [
            {
                "rungs": [
                    {"solver": LOOSE, "threshold": 1.63},
                    {"solver": TIGHT, "threshold": None},
                ],
                "rows": 5000,
                "agreement": 1.0,
                "bound": 0.9994,
                "confidence": 0.95,
                "escalated": 0.0116,
                "nfe": {"mean": 2.2, "p50": 2, "p90": 2, "p99": 18, "max": 21},
                "curve": [{"threshold": 0.0, "agreement": 0.997, "nfe": 2.0}],
            }
        ],
    },
    "card": "# odenet-mnist, version 5\n\nAn ODE-Net (after Chen et al. 2018, arXiv 1806.07366): …",
}

PREDICTION = {
    "model": "odenet-mnist",
    "version": "5",
    "predictions": [
        {
            "digit": 7,
            "probabilities": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9999, 0.0, 0.0],
            "margin": 9.2,
            "solver": {
                "method": "dopri5",
                "rtol": 0.001,
                "atol": 0.001,
                "nfe": 13,
                "steps": 2,
                "rejected": 0,
                "error_estimate": 0.0007,
                "outcome": "converged",
                "escalated": False,
                "degraded": False,
            },
        }
    ],
    "timing_ms": {"decode": 1.2, "queue": 0.3, "stem": 0.9, "solve": 2.2, "head": 0.1, "total": 5.4},
}

INFERENCE = {
    "model_name": "odenet-mnist",
    "model_version": "5",
    "outputs": [
        {
            "name": "probabilities",
            "datatype": "BYTES",
            "shape": [1, 3],
            "data": ["0.99981:7:7", "0.00006:1:1", "0.00005:9:9"],
        },
        {"name": "nfe", "datatype": "INT64", "shape": [1], "data": [2]},
    ],
}

METADATA = {
    "name": "odenet-mnist",
    "versions": ["5"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
    "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "digit", "datatype": "INT64", "shape": [-1]},
    ],
}

CONFIGURATION = {
    "name": "odenet-mnist",
    "platform": "onnxruntime_onnx",
    "backend": "onnxruntime",
    "max_batch_size": 256,
    "version_policy": {"specific": {"versions": [5]}},
    "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28]}],
    "output": [
        {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]},
        {"name": "digit", "data_type": "TYPE_INT64", "dims": []},
    ],
    "dynamic_batching": {"priority_levels": 3, "default_priority_level": 2},
    "parameters": {
        "method": {"string_value": "bosh3"},
        "rtol": {"string_value": "0.1"},
        "atol": {"string_value": "0.1"},
    },
}

STATISTICS = {
    "model_stats": [
        {
            "name": "odenet-mnist",
            "version": "5",
            "last_inference": 1764345600000,
            "inference_count": 3,
            "execution_count": 4,
            "inference_stats": {
                "success": {"count": 3, "ns": 32123963},
                "fail": {"count": 1, "ns": 0},
                "queue": {"count": 3, "ns": 656317},
                "compute_input": {"count": 3, "ns": 14900994},
                "compute_infer": {"count": 3, "ns": 15427799},
                "compute_output": {"count": 3, "ns": 1138853},
            },
        }
    ]
}

METRICS = """\
# HELP odenet_queued_seconds Estimated seconds of the work in the queue.
# TYPE odenet_queued_seconds gauge
odenet_queued_seconds 0.0
"""

ANSWER_EXAMPLES: dict[str, Any] = {
    "/predict": PREDICTION,
    "/models": [SUMMARY],
    "/models/{name}": DETAILS,
    "/health/live": {"status": "live"},
    "/health/ready": {"status": "ready", "models": ["mlp", "odenet-mnist"]},
    "/metrics": METRICS,
    "/v2": {"name": "odenet", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]},
    "/v2/health/live": {"live": True},
    "/v2/health/ready": {"ready": True},
    "/v2/models/stats": STATISTICS,
    "/v2/models/{name}": METADATA,
    "/v2/models/{name}/ready": {"name": "odenet-mnist", "ready": True},
    "/v2/models/{name}/config": CONFIGURATION,
    "/v2/models/{name}/stats": STATISTICS,
    "/v2/models/{name}/infer": INFERENCE,
    "/v2/repository/index": [{"name": "mlp", "version": "1", "state": "READY", "reason": ""}],
    "/v2/repository/models/{name}/load": {},
    "/v2/repository/models/{name}/unload": {},
}
"""The examples, by the path of the route. A route with a version of a model answers as the route without it."""
