"""Synthetic digits: readable, labelled pictures in MNIST's form that the seed determines."""

import numpy as np
import torch

from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from tests.serving import FITTED
from training.digits import make_digits
from training.fonts import FACES, FONTS, HELD_OUT, printed


def test_the_seed_determines_the_digits() -> None:
    one, again, other = (make_digits(60, seed) for seed in (1, 1, 2))
    assert one.images.shape == (60, 28, 28)
    assert one.images.dtype == torch.uint8
    assert one.labels.tolist() == [row % 10 for row in range(60)]
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)


def test_a_network_that_was_not_fitted_on_them_reads_most_digits() -> None:
    """Guessing would read one in ten."""
    made = make_digits(200, seed=3)
    digits = classify(OnnxBackend(FITTED / "resnet" / "1", []), made.images.numpy(), None).digits
    assert (digits == made.labels.numpy()).mean() > 0.7


def test_every_font_prints_ten_different_digits() -> None:
    for face in FACES:
        shown = {printed(str(digit), face, 0).tobytes() for digit in range(10)}
        assert len(shown) == 10, face


def test_no_fit_uses_a_font_of_a_family_that_is_held_out() -> None:
    assert set(FACES).isdisjoint(HELD_OUT)
    assert not [face for face in FACES if face.startswith(("cmss", "cmtt", "DejaVuSerif"))]
    assert all((FONTS / f"{face}.ttf").is_file() for face in HELD_OUT)


def test_bold_print_has_more_ink() -> None:
    thin, bold = (printed("7", "cmr10", width).astype(int).sum() for width in (0, 3))
    assert bold > 1.2 * thin


def test_classes_are_written_in_several_ways() -> None:
    """The ones have several widths: a plain stroke, or a stroke with a flag or a foot."""
    made = make_digits(800, seed=5)
    ones = made.images[made.labels == 1].numpy()
    widths = [np.ptp(np.flatnonzero(one.any(axis=0))) for one in ones]
    assert min(widths) < 5
    assert max(widths) > 10
