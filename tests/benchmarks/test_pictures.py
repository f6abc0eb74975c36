"""The shipped model reads pictures of every kind. Pictures without a digit are refused or get less certain answers."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures.__main__ import Reader, auroc, main
from benchmarks.pictures.ink import penned, thinned
from benchmarks.pictures.kinds import DIGITS
from benchmarks.pictures.outliers import OUTLIERS
from models.backends.answer import Floats
from tests.artifacts import MLP
from tests.pictures import DIGITS as IMAGES
from tests.pictures import LABELS
from training.cli import SplitName

pytestmark = pytest.mark.system

ROWS = 6
HARD = {"thick strokes", "thin strokes", "cut out along its box", "other styles, photograph"}


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader()


def made(kind: str, seed: int = 0, rows: int = ROWS) -> list[bytes]:
    return [DIGITS[kind](IMAGES[row], int(LABELS[row]), np.random.default_rng([seed, row])) for row in range(rows)]


@pytest.fixture(scope="module")
def of_digits(read: Reader) -> Floats:
    """How certain the answers to pictures of digits are."""
    return read(made("even paper") + made("photograph with all effects"))[1]


@pytest.mark.parametrize("kind", DIGITS)
def test_pictures_of_a_kind_are_read(read: Reader, kind: str) -> None:
    digits, _ = read(made(kind))
    assert (digits != LABELS[:ROWS]).sum() <= (2 if kind in HARD else 1)


def test_a_large_photograph_is_read_like_a_small_one(read: Reader) -> None:
    """The photograph has 12 megapixels, as a PNG and as a JPEG. The JPEG is decoded at a reduced size."""
    photographs = []
    for content in made("photograph with all effects", rows=1):
        with Image.open(io.BytesIO(content)) as small:
            large = small.resize((4_000, 3_000), Image.Resampling.BICUBIC)
        for form in ("PNG", "JPEG"):
            file = io.BytesIO()
            large.save(file, form, **({"compress_level": 1} if form == "PNG" else {"quality": 80}))
            photographs.append(file.getvalue())
    digits, _ = read(photographs)
    assert digits.tolist() == np.repeat(LABELS[:1], 2).tolist()


def test_blank_paper_is_refused(read: Reader) -> None:
    digits, _ = read([OUTLIERS["blank paper"](np.random.default_rng([3, row])) for row in range(30)])
    assert (digits == -1).mean() >= 0.85


@pytest.mark.parametrize("kind", ["letters", "numbers of two digits", "shapes", "parts of a portrait"])
def test_pictures_without_a_digit_get_less_certain_answers(read: Reader, of_digits: Floats, kind: str) -> None:
    _, of_others = read([OUTLIERS[kind](np.random.default_rng([4, row])) for row in range(16)])
    assert auroc(of_digits, of_others) > 0.9


def test_the_same_seed_makes_the_same_picture() -> None:
    kind = "photograph with all effects"
    assert made(kind, rows=2) == made(kind, rows=2)
    assert made(kind, rows=2) != made(kind, rows=2, seed=1)


def test_thinning_leaves_lines_a_pixel_wide() -> None:
    block = np.zeros((20, 40), bool)
    block[7:12, 5:35] = True
    middle = thinned(block)
    assert (middle.sum(axis=0) <= 1).all()
    assert middle[:, 10:30].any(axis=0).all()


def test_a_wider_pen_makes_more_ink() -> None:
    fine, broad = (penned(IMAGES[0], 280, pen).sum() for pen in (0.03, 0.12))
    assert broad > 2 * fine > 0


def test_the_program_prints_a_row_for_each_kind_and_the_calibration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(MLP, SplitName.validation, rows=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2 : 2 + len(DIGITS)]] == list(DIGITS)
    errors = [float(line.rpartition(": ")[2].rstrip("%")) for line in lines if line.startswith("ECE")]
    assert len(errors) == 2
    assert 0 <= errors[0] < errors[1] <= 100
    assert all(any(line.startswith(f"| {kind} |") for line in lines) for kind in OUTLIERS)


def test_auroc_of_two_and_two_values() -> None:
    assert auroc(np.array([0.9, 0.5], np.float32), np.array([0.5, 0.1], np.float32)) == 0.875
