"""What one would write first to serve the same artifact, a FastAPI app a file; each as fast as its design is."""
