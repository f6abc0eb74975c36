"""The sockets on which the service listens, and why it cannot listen."""

import errno
import socket

EVERYWHERE = "::"
"""The address that stands for all networks. We also accept IPv4 there, as other servers do."""


def bind(host: str, port: int, setting: str = "port") -> socket.socket:
    """Bind a socket to an address.

    Args:
        host: an address, or a name with an IPv4 address.
        port: the port; 0 for any free port.
        setting: the setting that chooses the port, for the error.

    Raises:
        OSError: the address is not available. The message says why, and what to do.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != EVERYWHERE)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.set_inheritable(True)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"{_reason(error, host, port, setting)} ({error.strerror})") from error
    return bound


def check_free(host: str, port: int, setting: str = "port") -> int:
    """Check that no other program listens at an address.

    Args:
        host: an address, or a name with an IPv4 address.
        port: the port; 0 for any free port.
        setting: the setting that chooses the port, for the error.

    Returns:
        The port, or a free port if the given port is 0.

    Raises:
        OSError: the address is not available. The message says why, and what to do.
    """
    with bind(host, port, setting) as alone:
        free: int = alone.getsockname()[1]
    return free


def _reason(error: OSError, host: str, port: int, setting: str) -> str:
    flag = f"--{setting.replace('_', '-')}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{setting}: another program listens at port {port} of {host}; stop it, or choose another by {flag}"
        case errno.EACCES:
            return f"{setting}: this user may not listen at port {port}; choose a port from 1024 by {flag}"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"host: this machine has no address {host}; choose another by --host"
    return f"host: cannot listen at {host}, port {port}"
