"""The routes, one protocol a file."""
