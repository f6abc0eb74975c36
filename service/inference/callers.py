"""Who asks, and whose requests take turns: the same for every protocol."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address

from service.telemetry import context


def caller(host: str) -> str:
    """Who asks in the current request: the name of the API key, or else the network of the client.

    Args:
        host: the address of the client; empty if it is not known.
    """
    return context.current().key or network(host)


def flow(caller: str, size: int) -> str:
    """The requests with which one shares its turns: those of the same caller with about this number of bytes.

    So those who share an address do not wait for all long requests among theirs.
    """
    return f"{caller} {size.bit_length()}"


@lru_cache
def network(host: str) -> str:
    """The network that an address counts for: an IPv4 address, or the 64 bits of an IPv6 address that a site has."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address) or address.ipv4_mapped:
        return host
    return str(IPv6Network((int(address), 64), strict=False))
