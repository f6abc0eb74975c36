"""The service under load, beside its own kernels and beside what one would write first."""
