"""The engine: how a request is solved, and when. It knows nothing of HTTP."""
