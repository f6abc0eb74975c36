"""The service under load, compared with its own kernels, simpler servers (the contenders) and real ones (the peers)."""
