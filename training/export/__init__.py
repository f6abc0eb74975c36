"""Export: a fitted network as ONNX graphs that share one file of weights, checked and written as an artifact."""
