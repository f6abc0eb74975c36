"""What the layer around the calls reads from a call."""

import pytest

from service.rpc.gateway import client_of


class Call:
    """A call of a client, whose address gRPC writes as a text."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:192.0.2.7:50000", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:50000", "2001:db8::1"),
        ("ipv6:[::ffff:192.0.2.7]:50000", "::ffff:192.0.2.7"),
        ("unix:", ""),
    ],
)
def test_the_address_of_a_client_is_read_from_the_text_of_grpc(peer: str, host: str) -> None:
    assert client_of(Call(peer)) == host
