"""An example of each error of a request, for the OpenAPI document."""

from service.errors import (
    BrokenModelError,
    DeadlineError,
    FieldError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    NotReadyError,
    OverloadedError,
    RateLimitedError,
    RequestError,
    StoppingError,
    TooLargeError,
    UnauthenticatedError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)

ERROR_EXAMPLES: dict[type[RequestError], RequestError] = {
    type(error): error
    for error in (
        MalformedError(FieldError("body", "is not JSON: EOF while parsing a value at line 1 column 10")),
        UnauthenticatedError(FieldError("authorization", "needs an API key")),
        ForbiddenError(FieldError("authorization", "the key needs the scope admin")),
        UnknownModelError(FieldError("model", "no model of this name is served", "resnet50")),
        BrokenModelError(FieldError("model", "step-heun2.onnx: altered")),
        TooLargeError(FieldError("body", "at most 8,388,608 bytes", "9,000,000")),
        UnsupportedMediaTypeError(FieldError("content-type", "must be one of image/png, image/jpeg", "image/tiff")),
        InvalidError(FieldError("tolerance", "Input should be less than or equal to 10", "1000")),
        OverloadedError(FieldError("queue", "other work may delay a request by 2 s; retry after 1 s"), retry_after=1),
        RateLimitedError(FieldError("authorization", "the key has 60 requests per minute"), retry_after=1),
        StoppingError(FieldError("service", "is stopping; ask again")),
        NotReadyError(FieldError("service", "the model odenet-mnist is not loaded")),
        DeadlineError(FieldError("deadline_ms", "leaves no time for an answer", "5")),
    )
}
"""The examples by the class of the error. Their fields, limits and values are made up."""
