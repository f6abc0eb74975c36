"""Checks that the packages for gRPC are installed, without importing them."""

from importlib.util import find_spec

PACKAGES = ("grpc", "grpc_health", "grpc_reflection", "tritonclient")


def check_installed() -> None:
    """Check that the extra ``grpc`` is installed.

    Raises:
        ValueError: a package is missing. The message says what to install.
    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise ValueError(f"grpc_port: needs the extra grpc; run pip install '.[grpc]' (missing: {', '.join(missing)})")
