"""The HTTP routes. Each module holds the routes of one subject; `v2` holds the Open Inference Protocol."""
