"""The sequence of requests of a load."""

import numpy as np

from benchmarks.serving.requests import Digits, Kind, RequestSequence

KINDS = (Kind("loose", "tolerance=1e-1"), Kind("tight", "tolerance=1e-5"))


def test_the_same_seed_gives_the_same_sequence(digits: Digits) -> None:
    def images(seed: int) -> list[int]:
        requests = RequestSequence(KINDS, digits, seed, "here")
        return [int(requests.next().image_indices[0]) for _ in range(50)]

    assert images(3) == images(3) != images(4)


def test_every_kind_goes_through_all_images_in_the_same_order(digits: Digits) -> None:
    few = Digits(digits.images[:20], digits.labels[:20])
    requests = RequestSequence(KINDS, few, 0, "here")
    sent = [requests.next() for _ in range(100)]
    orders = [[int(each.image_indices[0]) for each in sent if each.kind == kind][:20] for kind in (0, 1)]
    assert orders[0] == orders[1]
    assert set(orders[0]) == set(range(20))


def test_a_body_contains_its_images(digits: Digits) -> None:
    request = RequestSequence((Kind("eight", images=8),), digits, 0, "here:80").next()
    head, _, body = request.content.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\nHost: here:80\r\n")
    assert f"Content-Length: {8 * 784}".encode() in head
    assert np.array_equal(np.frombuffer(body, np.uint8).reshape(8, 28, 28), digits.images[request.image_indices])
