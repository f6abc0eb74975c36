"""The peers: the formats of their requests, their environments, and their comparison with the service."""

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.bench import Bench
from benchmarks.serving.contenders import common
from benchmarks.serving.forms import RAW
from benchmarks.serving.load import measure
from benchmarks.serving.peers.__main__ import compare, main
from benchmarks.serving.peers.environments import InstallError, install
from benchmarks.serving.peers.forms import V2_BINARY, V2_JSON, binary, columns, probabilities, tensor, tensors
from benchmarks.serving.peers.table import PEERS, TRITON, Body, Peer
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.rounds import ONE_IMAGE
from benchmarks.serving.servers import ServerError, ours, running

SHARES = [[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]
ROWS = [(1, 4.0), (0, 7.0)]


def output(name: str, datatype: str, values: npt.NDArray[Any], *, binary: bool) -> dict[str, object]:
    """The description of an output in the Open Inference Protocol, with its values unless they follow in binary."""
    content = {"parameters": {"binary_data_size": values.nbytes}} if binary else {"data": values.reshape(-1).tolist()}
    return {"name": name, "datatype": datatype, "shape": list(values.shape), **content}


@given(st.booleans(), st.booleans())
def test_answers_of_the_open_inference_protocol_are_read_from_json_and_from_binary(first: bool, second: bool) -> None:
    shares, nfe = np.array(SHARES, "<f4"), np.array([[4], [7]], "<i8")
    described = [output("nfe", "INT64", nfe, binary=first), output("probabilities", "FP32", shares, binary=second)]
    tail = (nfe.tobytes() if first else b"") + (shares.tobytes() if second else b"")
    rows = tensors(json.dumps({"outputs": described}).encode() + tail)
    assert [(row.digit, row.nfe) for row in rows] == ROWS


def test_an_output_of_an_unknown_type_is_skipped() -> None:
    shares, nfe = np.array(SHARES, "<f4"), np.array([4, 7], "<i8")
    text = {"name": "outcome", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 6}}
    described = [text, output("probabilities", "FP32", shares, binary=True), output("nfe", "INT64", nfe, binary=False)]
    rows = tensors(json.dumps({"outputs": described}).encode() + b"abcdef" + shares.tobytes())
    assert [(row.digit, row.nfe) for row in rows] == ROWS


def test_answers_of_the_other_peers_are_read() -> None:
    rows = columns(json.dumps({"probabilities": SHARES, "nfe": [4, 7]}).encode())
    assert [(row.digit, row.nfe) for row in rows] == ROWS
    assert [row.digit for row in probabilities(json.dumps(SHARES).encode())] == [1, 0]


def test_a_tensor_in_json_holds_the_images(digits: Digits) -> None:
    (described,) = json.loads(tensor(digits.images[:2]))["inputs"]
    values = np.array(described["data"], np.uint8).reshape(described["shape"])
    assert np.array_equal(values, digits.images[:2])


def test_a_request_in_binary_form_has_its_parameters_before_the_image(digits: Digits) -> None:
    form = binary(timeout=5000)
    body = form.write(digits.images[:1])
    end = int(dict(form.headers)["Inference-Header-Content-Length"])
    assert json.loads(body[:end])["parameters"] == {"escalate": False, "timeout": 5000}
    assert body[end:] == digits.images[0].tobytes()


@pytest.mark.system
def test_the_service_takes_the_requests_of_the_protocol(digits: Digits) -> None:
    with running(ours("--workers", "1", "--grace-seconds", "0", "--queue-seconds", "600")) as server:
        for form in (V2_BINARY, V2_JSON):
            result = measure(Plan(server.port, Closed(2, 0.2, warm_up=0), (Kind(form=form),)), digits)
            assert set(result.status) == {200}
            assert (result.answers.digit == result.answers.label).mean() > 0.9
            assert (result.answers.nfe == 4).all(), "each image is solved once, by the default solver"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_has_pinned_packages_and_a_program(peer: Peer) -> None:
    if peer.requirements is None:
        return
    packages = peer.requirements.read_text().splitlines()
    assert packages
    assert all("==" in package for package in packages)
    program = Path(peer.command(common.load(), Path("scratch")).arguments[1])
    assert program.is_file()


@pytest.mark.system
def test_a_peer_is_compared_with_the_service(bench: Bench) -> None:
    found = compare(bench, PEERS[-1])
    loads = ["1 connection, raw", "32 connections, raw", "1 connection, JSON", "32 connections, JSON"]
    assert [(each.peer, each.load) for each in found.ratios] == [(PEERS[-1].name, load) for load in loads]
    assert all(each.throughput > 0 for each in found.ratios)
    assert [goal.claim for goal in found.goals] == [f"images/s relative to {PEERS[-1].name}, 32 connections, JSON"]
    assert [line.server for line in found.measurements] == [PEERS[-1].name, "ours"] * 4


@pytest.mark.system
def test_a_peer_that_answers_no_request_is_named(bench: Bench) -> None:
    lost = replace(PEERS[-1], bodies=(Body("raw", replace(RAW, path="/nowhere"), ONE_IMAGE, None),))
    with pytest.raises(ServerError, match=r"FastAPI \+ onnxruntime answers no request; the first status is 404"):
        compare(bench, lost)


@pytest.mark.system
@pytest.mark.nightly
@pytest.mark.skipif(platform.machine() != "x86_64", reason="Triton's package is for x86-64 only")
def test_triton_refuses_requests_that_wait_longer_than_their_timeout(bench: Bench) -> None:
    with TRITON.started(bench.artifact) as server:
        patient = bench.closed(server, 128, Kind(form=binary(timeout=5_000_000)))
        hasty = bench.closed(server, 128, Kind(form=binary(timeout=1)))
    assert set(patient.status) == {200}
    assert (patient.answers.digit == patient.answers.label).mean() > 0.9
    assert 503 in hasty.status
    assert set(hasty.status) <= {200, 503}


def test_packages_are_not_installed_again_for_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-package==1\n")
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / ".installed").write_text("no-such-package==1\n")
    install(tmp_path / "requirements.txt", tmp_path / "environment")


def test_an_environment_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    for name in ("requirements.txt", "environment"):
        (tmp_path / name).write_text("")
    with pytest.raises(InstallError, match="environment"):
        install(tmp_path / "requirements.txt", tmp_path / "environment")


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="no peer is called nobody"):
        main(only=["nobody"])
