"""The Open Inference Protocol without a transport: REST (`service.api.v2`) and gRPC (`service.rpc`) share these parts.

Sources: the protocol (github.com/kserve/open-inference-protocol), and these extensions as Triton Inference Server
documents them (docs/protocol): classification, model configuration, model repository, schedule policy and statistics.
"""
