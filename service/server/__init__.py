"""The processes that serve: start, supervision, connections, and an orderly end."""
