"""The program that tells a container engine whether the service is ready."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trustme

from benchmarks.serving.servers import free_port
from tests.serving import ROOT, running
from tests.waiting import until

pytestmark = pytest.mark.system


def healthcheck(**environment: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "service.server.healthcheck"], cwd=ROOT, env=environment, check=False
    ).returncode


def test_the_health_check_succeeds_while_the_service_is_ready() -> None:
    port = str(free_port())
    with running("--port", port):
        until(lambda: healthcheck(ODENET_PORT=port) == 0)  # the program waits only 2 s for the answer
        until(lambda: healthcheck(ODENET_PORT=port, ODENET_TLS_CERTIFICATE="") == 0)  # the same as without the variable
        assert healthcheck(ODENET_PORT=port, ODENET_TLS_CERTIFICATE="certificate.pem") == 1
    assert healthcheck(ODENET_PORT=port) == 1


def test_the_health_check_uses_tls_if_the_service_does(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("odenet.example")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    flags = ["--tls-certificate", str(tmp_path / "certificate.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with running(*flags) as service:
        port = str(httpx.URL(service.url).port)
        until(lambda: healthcheck(ODENET_PORT=port, ODENET_TLS_CERTIFICATE=flags[1]) == 0)
        assert healthcheck(ODENET_PORT=port) == 1


def test_the_health_check_imports_no_dependency_of_the_service() -> None:
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "service.server.healthcheck"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    imported = {line.rpartition("|")[2].strip() for line in report.splitlines()}
    assert "http.client" in imported
    assert not imported & {"pydantic", "fastapi", "numpy", "onnxruntime"}
