"""Real servers on the same graph as the service, each in a virtual environment of its own."""
