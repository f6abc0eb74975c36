"""The folder that the worker processes share is removed, also after the service was killed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serving import ROOT

SHARING = """
from service.server.shared_folder import sharing
with sharing() as folder:
    print(folder, flush=True)
    input()
"""


@contextmanager
def sharing(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that shares a folder, until it is killed or the block ends; and the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", SHARING],
        cwd=ROOT,
        env={"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.communicate("\n")


def test_the_folder_of_a_killed_service_is_removed_at_the_next_start(tmp_path: Path) -> None:
    with sharing(tmp_path) as (process, abandoned):
        (abandoned / "metrics").mkdir()
        process.kill()
        process.wait()
        assert abandoned.exists()
        with sharing(tmp_path) as (_, folder):
            assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_running_service_stays(tmp_path: Path) -> None:
    with sharing(tmp_path) as (_, first), sharing(tmp_path) as (_, second):
        assert set(tmp_path.iterdir()) == {first, second}


def test_the_folder_of_a_running_service_is_locked_against_systemd_tmpfiles(tmp_path: Path) -> None:
    """It passes over a folder that it cannot lock. It removes files of other folders after some days."""
    with sharing(tmp_path) as (_, folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)


def test_other_folders_stay(tmp_path: Path) -> None:
    """A folder without a lock may be that of a service that is just starting."""
    (tmp_path / "odenet-starting").mkdir()
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "locked").touch()
    with sharing(tmp_path) as (_, folder):
        assert set(tmp_path.iterdir()) == {folder, tmp_path / "another", tmp_path / "odenet-starting"}
