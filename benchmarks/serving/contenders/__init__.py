"""Three simple servers for the same artifact, one FastAPI application per module. Each is tuned as far as it can be."""
