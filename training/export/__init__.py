"""Exports a fitted network as an artifact: ONNX graphs that share one file of weights, checked against torch."""
