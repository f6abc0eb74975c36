"""Reading an artifact: valid artifacts are accepted, and the error names the file and the field of an invalid one."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models.artifact import (
    CARD,
    DYNAMICS,
    HEAD,
    MANIFEST,
    PROFILE,
    SOLVE,
    STEM,
    WEIGHTS,
    Artifact,
    ArtifactError,
    Manifest,
    read,
    sha256,
    step_file,
)
from models.profile import Ladder, Profile
from models.solvers.methods import METHODS

Json = dict[str, Any]


def assert_refused(folder: Path, file: str, message: str) -> None:
    """Reading the folder fails with an error that starts with the path of the file and contains the message."""
    with pytest.raises(ArtifactError, match=rf"^{re.escape(str(folder / file))}: .*{message}"):
        read(folder)


def rewrite(path: Path, change: Callable[[Json], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def reseal(folder: Path, file: str) -> None:
    """Write the new checksum of an altered file into the manifest."""
    rewrite(folder / MANIFEST, lambda manifest: manifest["files"].update({file: sha256(folder / file)}))


def test_an_exported_artifact_is_accepted(artifact: Artifact) -> None:
    again = read(artifact.folder)
    assert again == artifact
    assert (again.manifest.name, again.manifest.version) == ("small", "3")
    assert again.manifest.methods == list(METHODS)
    assert again.card == (artifact.folder / CARD).read_text()


def test_manifest_and_profile_are_unchanged_after_writing_and_reading(artifact: Artifact, profile: Profile) -> None:
    assert Manifest.model_validate_json(artifact.manifest.model_dump_json()) == artifact.manifest
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_sha256_agrees_with_the_example_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


REQUIRED = [WEIGHTS, PROFILE, CARD, STEM, DYNAMICS, HEAD, *map(step_file, METHODS)]
EVERY_FILE = [*REQUIRED, SOLVE]


@pytest.mark.parametrize("file", EVERY_FILE)
def test_the_error_names_an_altered_file(artifact_copy: Path, file: str) -> None:
    """One bit in the middle of the file is changed."""
    path = artifact_copy / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_refused(artifact_copy, file, "altered; its SHA-256 is [0-9a-f]{64}, and manifest.json says [0-9a-f]{64}")


@pytest.mark.parametrize("file", EVERY_FILE)
def test_the_error_names_a_missing_file(artifact_copy: Path, file: str) -> None:
    (artifact_copy / file).unlink()
    assert_refused(artifact_copy, file, "cannot be read .*No such file")


@pytest.mark.parametrize("file", REQUIRED)
def test_the_error_names_a_file_that_the_manifest_does_not_list(artifact_copy: Path, file: str) -> None:
    """A file that is not listed has no checksum, so it must not be used."""
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest["files"].pop(file))
    assert_refused(artifact_copy, MANIFEST, f"lists no {file}")


def test_a_file_that_the_manifest_does_not_list_is_refused(artifact_copy: Path) -> None:
    """A graph could read numbers from this file, and no checksum would protect them."""
    (artifact_copy / ".DS_Store").touch()  # hidden files belong to the system
    assert read(artifact_copy).manifest.name == "small"
    (artifact_copy / "more.weights").write_bytes(bytes(4))
    assert_refused(artifact_copy, "more.weights", "is not listed in manifest.json")


def test_an_artifact_need_not_have_the_graph_of_the_whole_solve(artifact_copy: Path) -> None:
    """A quick export leaves the graph out, because the service does not use it."""
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest["files"].pop(SOLVE))
    (artifact_copy / SOLVE).unlink()
    assert SOLVE not in read(artifact_copy).manifest.files


def test_the_error_names_a_folder_in_place_of_a_file(artifact_copy: Path) -> None:
    (artifact_copy / STEM).unlink()
    (artifact_copy / STEM).mkdir()
    assert_refused(artifact_copy, STEM, "cannot be read")


def test_the_error_names_a_missing_manifest(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", MANIFEST, "cannot be read .*No such file")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"{}", b'"text"'])
def test_the_error_names_an_invalid_manifest(artifact_copy: Path, content: bytes) -> None:
    (artifact_copy / MANIFEST).write_bytes(content)
    assert_refused(artifact_copy, MANIFEST, "")


@pytest.mark.parametrize(
    "field", ["name", "version", "network", "classes", "normalisation", "methods", "default_solver", "files"]
)
def test_the_error_names_a_missing_field(artifact_copy: Path, field: str) -> None:
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest.pop(field))
    assert_refused(artifact_copy, MANIFEST, f"{field}: Field required")


CHANGES: dict[str, tuple[Json, str]] = {
    "a later schema version": ({"schema_version": 6}, "schema_version"),
    "an unknown field": ({"licence": "none"}, "licence"),
    "a name with a path": ({"name": "../small"}, "name"),
    "an empty name": ({"name": ""}, "name"),
    "a version that is not a number": ({"version": "latest"}, "version"),
    "version zero": ({"version": "0"}, "version"),
    "an unknown network": ({"network": "transformer"}, "network"),
    "a standard deviation of zero": ({"normalisation": {"mean": 0.1, "std": 0}}, r"normalisation\.std"),
    "an unknown solver": ({"default_solver": {"method": "magic", "steps": 1}}, "default_solver"),
    "a tolerance out of range": (
        {"default_solver": {"method": "dopri5", "rtol": 0, "atol": 0}},
        r"default_solver\.rtol",
    ),
    "a temperature of zero": ({"temperature": 0}, "temperature"),
    "an unknown method": ({"methods": ["dopri5", "rk45"]}, r"no method is called rk45"),
    "no method": ({"methods": [], "default_solver": None}, "none of them is adaptive .the list is empty."),
    "no adaptive method": (
        {"methods": ["euler", "rk4"], "default_solver": {"method": "rk4", "steps": 1}},
        r"none of them is adaptive .euler, rk4., but the network odenet\S* needs an adaptive method",
    ),
    "a default solver whose method is not listed": ({"methods": ["euler"]}, r"does not use one of methods"),
}


def test_a_manifest_of_schema_version_2_is_read_with_temperature_1(artifact_copy: Path) -> None:
    def older(manifest: Json) -> None:
        manifest["schema_version"] = 2
        del manifest["temperature"]
        for measured in manifest["metrics"]:
            del measured["uncalibrated"], measured["calibrated"]

    rewrite(artifact_copy / MANIFEST, older)
    assert read(artifact_copy).manifest.temperature == 1


@pytest.mark.parametrize("change", CHANGES)
def test_the_error_names_an_invalid_field(artifact_copy: Path, change: str) -> None:
    fields, message = CHANGES[change]
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest.update(fields))
    assert_refused(artifact_copy, MANIFEST, message)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", ".", ".hidden", "", "a\\b", "stem.onnx\n", "stem.onnx\0", "é.onnx"]
)
def test_a_file_name_outside_the_folder_is_refused(artifact_copy: Path, name: str) -> None:
    """The name is refused even if the file exists and its checksum is correct."""
    (artifact_copy.parent / "x").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest["files"].update({name: empty}))
    assert_refused(artifact_copy, MANIFEST, "files")


@pytest.mark.parametrize("checksum", ["", "0" * 63, "0" * 65, "G" * 64, None])
def test_an_invalid_checksum_is_refused(artifact_copy: Path, checksum: str | None) -> None:
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest["files"].update({STEM: checksum}))
    assert_refused(artifact_copy, MANIFEST, "files")


def test_the_error_names_an_invalid_profile_with_a_correct_checksum(artifact_copy: Path) -> None:
    rewrite(artifact_copy / PROFILE, lambda profile: profile["points"][4].pop("nfe"))
    reseal(artifact_copy, PROFILE)
    assert_refused(artifact_copy, PROFILE, r"points\.4\.nfe: Field required")


def without_rk4(manifest: Json) -> None:
    """Take the method rk4 out of a manifest."""
    manifest["methods"].remove("rk4")
    del manifest["files"][step_file("rk4")]


def without_points_of_rk4(profile: Json) -> None:
    """Take the points of the method rk4 out of a profile."""
    profile["points"] = [point for point in profile["points"] if point["solver"]["method"] != "rk4"]


def a_ladder_by_rk4(profile: Json) -> None:
    """Take the points of the method rk4 out of a profile, and let its last ladder end with this method."""
    without_points_of_rk4(profile)
    profile["ladders"][-1]["rungs"][-1]["solver"] = {"method": "rk4", "steps": 2}


@pytest.mark.parametrize("change", [lambda _: None, a_ladder_by_rk4], ids=["a point", "a ladder"])
def test_a_profile_that_uses_a_method_without_a_graph_is_refused(
    artifact_copy: Path, change: Callable[[Json], None]
) -> None:
    """A request for this point or ladder could not be answered."""
    (artifact_copy / step_file("rk4")).unlink()
    rewrite(artifact_copy / MANIFEST, without_rk4)
    rewrite(artifact_copy / PROFILE, change)
    reseal(artifact_copy, PROFILE)
    assert_refused(artifact_copy, PROFILE, "uses rk4, which is not in methods of manifest.json")


def test_a_profile_without_ladders_is_read(artifact_copy: Path) -> None:
    """Artifacts of schema version 4 have no ladders."""
    rewrite(artifact_copy / PROFILE, lambda profile: profile.pop("ladders"))
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest.update(schema_version=4))
    reseal(artifact_copy, PROFILE)
    profile = read(artifact_copy).profile
    assert profile is not None
    assert profile.ladder_for(0.0) is None


@pytest.mark.parametrize("thresholds", [[None, None], [1.0], [None, 1.0]], ids=str)
def test_every_rung_but_the_last_needs_a_threshold(profile: Profile, thresholds: list[float | None]) -> None:
    rungs = [{"solver": profile.reference, "threshold": threshold} for threshold in thresholds]
    with pytest.raises(ValidationError, match="every rung but the last one needs a threshold"):
        Ladder.model_validate(profile.ladders[-1].model_dump() | {"rungs": rungs})


def test_the_cheapest_ladder_with_the_bound_is_chosen(profile: Profile) -> None:
    *cheaper, reference = profile.ladders
    assert profile.ladder_for(1.0) == reference
    for ladder in cheaper:
        assert profile.ladder_for(ladder.bound) == ladder


def test_the_error_names_a_profile_that_is_not_json(artifact_copy: Path) -> None:
    (artifact_copy / PROFILE).write_text("points")
    reseal(artifact_copy, PROFILE)
    assert_refused(artifact_copy, PROFILE, "Invalid JSON")


def test_a_pipe_in_place_of_a_file_is_refused(artifact_copy: Path) -> None:
    """Reading from the pipe would never end."""
    for name in ("README.md", "manifest.json"):
        (artifact_copy / name).unlink()
        os.mkfifo(artifact_copy / name)
        with pytest.raises(ArtifactError, match=f"{name}: cannot be read, because it is not a regular file"):
            read(artifact_copy)


def grow(path: Path, size: int) -> None:
    """Make a file longer, without a use of the disk."""
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize(("file", "most"), [(MANIFEST, 2**20), (WEIGHTS, 2**30), (STEM, 2**24), (CARD, 2**24)])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(artifact_copy: Path, file: str, most: int) -> None:
    grow(artifact_copy / file, most + 1)
    assert_refused(artifact_copy, file, f"has {most + 1:,} bytes; the limit is {most:,}")


def test_a_manifest_that_lists_too_many_files_is_refused(artifact_copy: Path) -> None:
    more = {f"file-{number}": "0" * 64 for number in range(64)}
    rewrite(artifact_copy / MANIFEST, lambda manifest: manifest["files"].update(more))
    assert_refused(artifact_copy, MANIFEST, "files: Dictionary should have at most 64 items")


def test_a_card_that_is_not_text_is_refused_although_its_checksum_is_correct(artifact_copy: Path) -> None:
    (artifact_copy / CARD).write_bytes(b"\xff\xfe")
    reseal(artifact_copy, CARD)
    assert_refused(artifact_copy, CARD, "is not text in UTF-8")


def weights(header: bytes, numbers: bytes = b"") -> bytes:
    """A file of weights."""
    return len(header).to_bytes(8, "little") + header + numbers


ONE = b'{"one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'

HEADERS = {
    "nothing": (b"", "header would have 0 bytes; .* the file has 0"),
    "a header longer than the file": ((100).to_bytes(8, "little") + b"{}", "header would have 100 bytes"),
    "a header of 2**60 bytes": ((2**60).to_bytes(8, "little"), "header would have 1,152,921,504,606,846,976 bytes"),
    "no JSON": (weights(b"nonsense"), "header is not JSON"),
    "a list": (weights(b"[]"), "header is not valid"),
    "an unknown type": (weights(ONE.replace(b"F32", b"F33"), bytes(8)), "header is not valid .one.dtype"),
    "a negative side": (weights(ONE.replace(b"[2]", b"[-2]"), bytes(8)), "header is not valid .one.shape"),
    "a wrong shape": (weights(ONE.replace(b"[2]", b"[3]"), bytes(8)), "the tensor one of shape .3. has the bytes"),
    "numbers outside of the file": (weights(ONE, bytes(7)), "lists 8 bytes of numbers, and the file has 7"),
    "numbers that no tensor has": (weights(ONE, bytes(9)), "lists 8 bytes of numbers, and the file has 9"),
}


@pytest.mark.parametrize(("content", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_weights_with_a_broken_header_are_refused_although_their_checksum_is_correct(
    artifact_copy: Path, content: bytes, message: str
) -> None:
    (artifact_copy / WEIGHTS).write_bytes(content)
    reseal(artifact_copy, WEIGHTS)
    assert_refused(artifact_copy, WEIGHTS, message)
