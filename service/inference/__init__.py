"""The data plane: every protocol sends its requests for inference through it."""
