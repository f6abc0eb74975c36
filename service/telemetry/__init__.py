"""What is told of the service's work: metrics, logs, traces."""
