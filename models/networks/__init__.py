"""The networks, one system of the source's table a file."""
