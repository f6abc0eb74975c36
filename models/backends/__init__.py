"""What runs a network: onnxruntime, without torch, or torch."""
