"""The command ``python -m service predict``."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import trustme

from service.api.query import QueryFields
from service.cli import predict as command
from service.cli.errors import Exit
from service.security.keys import Scope, make_key
from tests.digits import encoded, load_test_set, seven
from tests.service.cli.command_line import NOWHERE, SEVEN, port, predict, run, run_with_closed_output
from tests.serving import Running, running

pytestmark = pytest.mark.system


def answers(done: subprocess.CompletedProcess[str]) -> list[list[dict[str, Any]]]:
    """The predictions that `--json` prints. The rest of the output differs between runs."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["predictions"] for line in done.stdout.splitlines()]


def cells(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """The cells of the table. No cell in these tests has spaces, except one heading."""
    return [line.split() for line in done.stdout.replace("error estimate", "error_estimate").splitlines()]


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Another kind of server, which gives the same answer to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_table_shows_the_answer_of_the_service(service: Running, client: httpx.Client) -> None:
    done = predict(SEVEN, "--tolerance", "1e-3", "--url", service.url)
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = cells(done)
    costs = ["NFE", "steps", "outcome", "escalated", "degraded", "error_estimate", "ms"]
    assert heading == ["file", "digit", "probability", "margin", "method", "tolerance", *costs]
    (answer,) = client.post(
        "/predict?tolerance=1e-3", content=SEVEN.read_bytes(), headers={"content-type": "image/png"}
    ).json()["predictions"]
    solver = answer["solver"]
    assert row[:-1] == [
        str(SEVEN),
        str(answer["digit"]),
        f"{answer['probabilities'][answer['digit']]:.4f}",
        f"{answer['margin']:.1f}",
        solver["method"],
        "0.001",
        str(solver["nfe"]),
        str(solver["steps"]),
        "converged",
        "no",
        "no",
        f"{solver['error_estimate']:.2g}",
    ]
    assert float(row[-1]) > 0


def test_a_trace_is_printed_with_json_and_refused_for_the_table(service: Running) -> None:
    done = predict(SEVEN, "--trace", "--json", "--url", service.url)
    assert answers(done)[0][0]["trace"]
    done = predict(SEVEN, "--trace", "--url", NOWHERE)
    assert done.returncode == 2
    assert "--trace: the table does not show traces; add --json" in done.stderr


def test_each_image_of_each_file_has_a_row_and_the_columns_are_aligned(service: Running, tmp_path: Path) -> None:
    images, labels = load_test_set()
    (tmp_path / "two.raw").write_bytes(images[1:3].tobytes())
    (tmp_path / "four.jpg").write_bytes(encoded(images[4], "JPEG", quality=95))
    files = (SEVEN, tmp_path / "two.raw", tmp_path / "four.jpg")
    done = run((*files, "-", "--url", service.url), {}, standard_input=seven().tobytes())
    assert (done.returncode, done.stderr) == (0, "")
    names = [str(SEVEN), f"{tmp_path}/two.raw[0]", f"{tmp_path}/two.raw[1]", f"{tmp_path}/four.jpg", "-"]
    digits = [7, *map(int, labels[1:3]), int(labels[4]), 7]
    assert [row[:2] for row in cells(done)[1:]] == [[n, str(d)] for n, d in zip(names, digits, strict=True)]
    lines = done.stdout.splitlines()
    assert len({len(line) for line in lines}) == 1
    end = lines[0].index("digit") + len("digit")
    assert all(line[end - 1].isdigit() and line[end] == " " for line in lines[1:])


@pytest.mark.parametrize(
    ("options", "expected"),
    {
        "tolerance": (["--tolerance", "1e-2"], {"rtol": 0.01, "atol": 0.01}),
        "tolerances": (["--rtol", "1e-2", "--atol", "1e-3"], {"rtol": 0.01, "atol": 0.001}),
        "fixed": (["--method", "rk4", "--steps", "3"], {"method": "rk4", "steps": 3, "nfe": 12, "rtol": None}),
        "agreement": (["--agreement", "1"], {"rtol": 1e-6, "escalated": False}),
        "no escalation": (["--no-escalate"], {"rtol": 0.1, "escalated": False}),
        "budget": (["--tolerance", "1e-6", "--max-nfe", "9"], {"outcome": "max_nfe"}),
        "others": (["--deadline-ms", "60000", "--allow-degraded", "--priority", "high"], {"outcome": "converged"}),
    }.values(),
)
def test_the_options_set_the_fields_of_the_request(
    service: Running, options: list[str], expected: dict[str, Any]
) -> None:
    ((answer,),) = answers(predict(SEVEN, "--json", "--url", service.url, *options))
    assert answer["solver"] | expected == answer["solver"]


def test_the_solver_columns_of_a_model_without_an_ode_have_dashes(service: Running) -> None:
    done = predict(SEVEN, "--model", "mlp", "--url", service.url)
    assert done.returncode == 0
    assert cells(done)[1][4:10] == ["-"] * 6


def test_without_a_service_this_process_gives_the_same_answers_and_reports_it(service: Running, tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(make_key("alice", frozenset({Scope.predict}), None)[1])
    (tmp_path / "many.raw").write_bytes(load_test_set()[0][:20].tobytes())
    arguments = (str(SEVEN), str(tmp_path / "many.raw"), "--tolerance", "1e-4", "--model", "rknet", "--json")
    alone = predict(*arguments, ODENET_PORT="1", ODENET_API_KEY_FILE=str(keys))
    assert alone.stderr == f"nothing listens at {NOWHERE}; answering in this process\n"
    assert answers(alone) == answers(predict(*arguments, ODENET_PORT=port(service)))


def test_this_process_refuses_a_request_like_a_service(tmp_path: Path) -> None:
    done = predict(SEVEN, "--model", "../odenet", ODENET_PORT="1")
    assert (done.returncode, done.stdout) == (4, "")
    assert "404 Not Found\n  model: " in done.stderr


def test_without_a_service_and_without_models_the_command_gives_the_reason(tmp_path: Path) -> None:
    done = predict(SEVEN, ODENET_PORT="1", ODENET_MODELS=str(tmp_path))
    assert (done.returncode, done.stdout) == (6, "")
    assert f"error: {tmp_path}/odenet-mnist: no such model" in done.stderr


def test_with_a_url_only_the_service_at_the_url_answers() -> None:
    done = predict(SEVEN, SEVEN, "--url", NOWHERE)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith(f"error: {SEVEN}: {NOWHERE} cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_service_on_all_addresses_is_reached_on_loopback(tmp_path: Path) -> None:
    everywhere = {"ODENET_HOST": "0.0.0.0", "ODENET_NO_AUTH": "true"}  # noqa: S104
    with running(**everywhere) as service:
        done = predict(SEVEN, ODENET_PORT=port(service), **everywhere)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    {
        "no file": ([], {}, "required: FILE"),
        "an unknown option": (["x", "--tol", "1"], {}, "unrecognized arguments: --tol"),
        "out of range": (["x", "--tolerance", "11"], {}, "tolerance: Input should be less than or equal to 10; not 11"),
        "no number": (["x", "--steps", "many"], {}, "steps: Input should be a valid integer"),
        "no choice": (["x", "--priority", "urgent"], {}, "'high', 'normal', 'low'"),
        "no URL of a service": (["x", "--url", "ftp://x"], {}, "--url: URL scheme should be 'http' or 'https'; not"),
        "a port out of range": (["x", "--url", "http://x:99999"], {}, "--url: Input should be a valid URL"),
        "a URL with a query": (["x", "--url", "http://x/?a=b"], {}, "must not have a query or a fragment"),
        "a wrong setting": (["x"], {"ODENET_PORT": "-1"}, "settings: port: Input should be greater than or equal to 0"),
    }.values(),
)
def test_wrong_use_is_reported_with_status_2(arguments: list[str], environment: dict[str, str], reason: str) -> None:
    done = predict(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr


def test_no_error_repeats_a_key() -> None:
    for arguments, environment in (
        (["--url", "http://user:secret@127.0.0.1"], {}),
        (["--url", "http://:secret@127.0.0.1:99999"], {}),
        ([], {"ODENET_KEY": "a secret"}),
        ([], {"ODENET_KEY": "secret\u00e9"}),
    ):
        done = predict(SEVEN, *arguments, **environment)
        assert done.returncode == 2
        assert "ODENET_KEY" in done.stderr
        assert "secret" not in done.stderr


def test_files_that_cannot_be_read_are_reported_and_the_others_are_answered(service: Running, tmp_path: Path) -> None:
    (tmp_path / "large.raw").write_bytes(bytes(2048))
    done = predict(
        tmp_path / "none",
        tmp_path,
        SEVEN,
        tmp_path / "large.raw",
        ODENET_PORT=port(service),
        ODENET_MAX_BODY_BYTES="1024",
    )
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/none: cannot be read: No such file or directory",
        f"error: {tmp_path}: cannot be read: Is a directory",
        f"error: {tmp_path}/large.raw: is larger than the setting max_body_bytes, 1,024 bytes",
    ]
    assert [row[0] for row in cells(done)[1:]] == [str(SEVEN)]


def test_refused_files_are_reported_with_their_fields_and_the_others_are_answered(
    service: Running, tmp_path: Path
) -> None:
    (tmp_path / "short.raw").write_bytes(bytes(100))
    (tmp_path / "many.raw").write_bytes(bytes(51 * 784))
    done = predict(tmp_path / "short.raw", tmp_path / "many.raw", tmp_path / "none", SEVEN, "--url", service.url)
    assert done.returncode == 4
    short, field, many, most, none = done.stderr.splitlines()
    assert short == f"error: {tmp_path}/short.raw: 422 Unprocessable Entity"
    assert field.startswith("  body: must be raw images of 784 bytes each")
    assert field.endswith("; not 100 bytes")
    assert many.startswith(f"error: {tmp_path}/many.raw: 413 ")
    assert most == "  images: at most 50 in a request; not 51"
    assert "cannot be read" in none
    assert [row[0] for row in cells(done)[1:]] == [str(SEVEN)]


def test_the_key_of_the_environment_is_sent_and_the_command_stops_at_the_rate_limit(
    tmp_path: Path,
) -> None:
    secret, entry = make_key("alice", frozenset({Scope.predict}), 1)
    (tmp_path / "keys.toml").write_text(entry)
    with running("--api-key-file", str(tmp_path / "keys.toml")) as service:
        without = predict(SEVEN, "--url", service.url)
        with_it = predict(SEVEN, SEVEN, SEVEN, "--url", service.url, ODENET_KEY=secret)
    assert (without.returncode, without.stdout) == (4, "")
    assert f"error: {SEVEN}: 401 Unauthorized\n  authorization: " in without.stderr
    assert "put your API key into the environment variable ODENET_KEY" in without.stderr
    assert with_it.returncode == 5
    assert len(cells(with_it)[1:]) == 1
    assert f"error: {SEVEN}: 429 Too Many Requests; ask again in " in with_it.stderr
    assert with_it.stderr.count("error: ") == 1
    assert secret not in with_it.stderr


@pytest.mark.parametrize(
    ("status", "body", "end", "reason"),
    [
        (503, b"<html>", 5, "503 Service Unavailable"),
        (404, b"[1]", 4, "404 Not Found"),
        (400, b'{"detail": "\\u001b[2J", "errors": []}', 4, "400 Bad Request\n  \\x1b[2J"),
        (301, b"", 6, "301 Moved Permanently"),
        (200, b"<html>", 6, "gives answers in another form than this service"),
        (200, b'{"predictions": [{"digit": 12}], "timing_ms": {"total": 1}}', 6, "gives answers in another form than"),
    ],
)
def test_the_answer_of_another_server_is_reported_with_its_status(
    status: int, body: bytes, end: int, reason: str
) -> None:
    with answering(status, body) as url:
        done = predict(SEVEN, SEVEN, "--url", url)
    assert (done.returncode, done.stdout) == (end, "")
    assert f"error: {SEVEN}: " in done.stderr
    assert reason in done.stderr


def test_the_command_trusts_the_certificate_in_the_settings_or_those_of_the_system(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    for name, host in (("ours", "127.0.0.1"), ("other", "odenet.example")):
        issued = authority.issue_cert(host)
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")

    def tls(name: str) -> dict[str, str]:
        paths = (tmp_path / f"{name}.pem", tmp_path / f"{name}-key.pem")
        return dict(zip(("ODENET_TLS_CERTIFICATE", "ODENET_TLS_KEY"), map(str, paths), strict=True))

    with running(**tls("ours")) as service:
        found = predict(SEVEN, ODENET_PORT=port(service), **tls("ours"))
        assert (found.returncode, found.stderr) == (0, "")
        other = predict(SEVEN, ODENET_PORT=port(service), **tls("other"))
        assert other.returncode == 6
        assert "CERTIFICATE_VERIFY_FAILED" in other.stderr
        none = predict(SEVEN, ODENET_PORT=port(service), **tls("none"))
        assert none.returncode == 6
        assert f"tls_certificate: {tmp_path}/none.pem: " in none.stderr
        assert predict(SEVEN, "--url", service.url).returncode == 6
        assert predict(SEVEN, "--url", service.url, SSL_CERT_FILE=str(tmp_path / "authority.pem")).returncode == 0


def test_a_file_may_have_any_name(service: Running, tmp_path: Path) -> None:
    names = ["a,b", "[1]", "1", "null", '"', "a\nb\x1b[2J", os.fsdecode(b"\xff")]
    for name in names:
        (tmp_path / name).write_bytes(seven().tobytes())
    done = predict(*(tmp_path / name for name in names), "--url", service.url)
    assert (done.returncode, done.stderr) == (0, "")
    shown = ["a,b", "[1]", "1", "null", '"', "a\\nb\\x1b[2J", "\\udcff"]
    assert [row[:2] for row in cells(done)[1:]] == [[f"{tmp_path}/{name}", "7"] for name in shown]


def test_a_closed_output_is_not_an_error(service: Running) -> None:
    assert run_with_closed_output("predict", str(SEVEN), "--json", "--url", service.url) == (141, b"")


def test_help_lists_the_fields_of_the_request_and_the_exit_statuses() -> None:
    text = predict("--help").stdout
    assert all(f"--{name.replace('_', '-')}" in text for name in QueryFields.model_fields)
    assert [line.split()[0] for line in text.partition("exit status:\n")[2].splitlines()[:-1]] == list("023456")


def test_a_running_service_is_asked_without_importing_the_application(service: Running) -> None:
    done = run([SEVEN, "--url", service.url], {}, python=["-X", "importtime"])
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "httpx" in imported
    assert not imported & {"fastapi", "starlette", "uvicorn", "onnxruntime", "PIL", "torch"}


def test_a_closed_standard_input_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell closes it by `<&-`, and some programs start others without it."""
    monkeypatch.setattr(sys, "stdin", None)
    assert command.main(["-", "--url", NOWHERE]) == Exit.unreadable
    assert capsys.readouterr().err == "error: -: cannot be read: the standard input is closed\n"
