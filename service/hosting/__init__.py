"""Which models are served: loading them, swapping them, and agreeing on them among the worker processes."""
