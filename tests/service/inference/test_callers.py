"""Who asks, and whose requests take turns."""

import pytest

from service.inference.callers import caller, flow, network
from service.telemetry import context


@pytest.mark.parametrize(
    ("host", "counts_for"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("a name", "a name"),
        ("", ""),
    ],
)
def test_an_ipv6_address_counts_for_the_network_of_its_site(host: str, counts_for: str) -> None:
    assert network(host) == counts_for


def test_a_caller_with_a_key_is_known_by_the_name_of_the_key() -> None:
    facts = context.begin("one")
    assert caller("192.0.2.7") == "192.0.2.7"
    facts.key = "mine"
    assert caller("192.0.2.7") == "mine"


def test_requests_of_a_caller_share_their_turns_if_their_lengths_are_alike() -> None:
    assert flow("mine", 784) == flow("mine", 900)
    assert len({flow("mine", 784), flow("mine", 78_400), flow("yours", 784)}) == 3
