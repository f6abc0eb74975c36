"""The models that the replicas serve."""

from pathlib import Path

import pytest

from tests.artifacts import MLP, put


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one fast model, which all replicas watch."""
    folder = tmp_path_factory.mktemp("models")
    put(folder, "digits", "1", MLP)
    return folder
