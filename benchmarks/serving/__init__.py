"""The service under load, compared with its own kernels and with three simpler servers (the contenders)."""
