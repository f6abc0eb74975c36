"""The Open Inference Protocol, version 2, over gRPC. All modules but `extra` need the extra ``grpc``.

A process must not import gRPC before it forks, so only the process that serves imports these modules.

Sources: the protocol (github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto), and
Triton's extensions of the service (github.com/triton-inference-server/common, protobuf/grpc_service.proto). The
messages come from the package tritonclient, which has all extensions and is small.
"""
