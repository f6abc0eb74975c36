"""The Open Inference Protocol, version 2, over REST: ``/v2``.

Sources: the protocol (github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md), and the
extension for binary tensor data, as Triton Inference Server documents it. The parts that gRPC uses too are in
`service.open_inference`.
"""
