"""How many random inputs Hypothesis tries in a test."""

from hypothesis import settings


def examples(times: float) -> settings:
    """Try a multiple of the usual number of inputs: more of cheap inputs, or fewer of costly ones.

    The profiles in `tests/conftest.py` set the usual number. So `make test-nightly` tries more inputs of every test.

    Args:
        times: the multiple.
    """
    return settings(max_examples=round(times * settings().max_examples))
