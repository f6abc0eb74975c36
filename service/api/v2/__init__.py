"""The Open Inference Protocol, version 2, over REST: ``/v2``.

Sources: the protocol (github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md), and these
extensions as Triton Inference Server documents them (docs/protocol): binary tensor data, classification, model
configuration, model repository, schedule policy and statistics.
"""
