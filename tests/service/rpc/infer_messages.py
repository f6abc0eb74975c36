"""Helpers that write requests for inference as messages, and send them without a client library."""

from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from service.rpc.messages import INPUT_CONTENTS
from tests.digits import encoded
from tests.service.api.v2.infer_requests import DIGITS, MODEL, joined
from tests.waiting import HANG

Images = npt.NDArray[np.uint8]


def message(images: Images = DIGITS[:1], datatype: str = "UINT8", *, typed: bool = False, **fields: Any) -> Any:
    """A request for inference, with further fields. Parameters are given as Python's values."""
    parameters = {name: parameter(value) for name, value in fields.pop("parameters", {}).items()}
    request = pb.ModelInferRequest(**{"model_name": MODEL, "parameters": parameters} | fields)
    shape = [len(images)] if datatype == "BYTES" else images.shape
    tensor = request.inputs.add(name="image", datatype=datatype, shape=shape)
    pictures = [encoded(image) for image in images] if datatype == "BYTES" else []
    values = images if datatype == "UINT8" else (images / 255).astype("<f4")
    if typed:
        getattr(tensor.contents, INPUT_CONTENTS[datatype]).extend(pictures or values.ravel().tolist())
    else:
        request.raw_input_contents.append(joined(pictures) if datatype == "BYTES" else values.tobytes())
    return request


def parameter(value: bool | int | float | str) -> Any:
    """A parameter of the type of a value."""
    kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
    return pb.InferParameter(**{kind: value})


def refusal(channel: grpc.Channel, request: Any, method: str = "ModelInfer", **options: Any) -> grpc.RpcError:
    """The error with which the service refuses a request."""
    try:
        getattr(GRPCInferenceServiceStub(channel), method)(request, **{"timeout": HANG} | options)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the service has answered")
