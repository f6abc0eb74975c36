"""What is asked."""

import numpy as np

from benchmarks.serving.questions import Digits, Kind, Questions

KINDS = (Kind("loose", "tolerance=1e-1"), Kind("tight", "tolerance=1e-5"))


def test_one_seed_asks_one_sequence(digits: Digits) -> None:
    def rows(seed: int) -> list[int]:
        questions = Questions(KINDS, digits, seed, "here")
        return [int(questions.next().rows[0]) for _ in range(50)]

    assert rows(3) == rows(3) != rows(4)


def test_kinds_go_through_the_same_images_and_through_all_of_them(digits: Digits) -> None:
    few = Digits(digits.images[:20], digits.labels[:20])
    questions = Questions(KINDS, few, 0, "here")
    asked = [questions.next() for _ in range(100)]
    orders = [[int(each.rows[0]) for each in asked if each.kind == kind][:20] for kind in (0, 1)]
    assert orders[0] == orders[1]
    assert set(orders[0]) == set(range(20))


def test_a_body_holds_its_images(digits: Digits) -> None:
    question = Questions((Kind("eight", images=8),), digits, 0, "here:80").next()
    head, _, body = question.content.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\nHost: here:80\r\n")
    assert f"Content-Length: {8 * 784}".encode() in head
    assert np.array_equal(np.frombuffer(body, np.uint8).reshape(8, 28, 28), digits.images[question.rows])
