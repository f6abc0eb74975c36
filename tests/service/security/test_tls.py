"""The service over TLS, with a certificate that the test makes."""

import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from service.security.tls import check_certificate
from tests.digits import seven
from tests.serving import running
from tests.waiting import HANG

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path / "certificate.pem", tmp_path / "key.pem"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_with_a_certificate_the_service_answers_only_over_tls(
    authority: trustme.CA, certificate: tuple[Path, Path], workers: str
) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    flags = ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
    with running(*flags, ODENET_WORKERS=workers) as service:
        assert service.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=service.url, verify=trusting, timeout=HANG) as client:
            answer = client.post(
                "/predict", content=seven().tobytes(), headers={"content-type": "application/octet-stream"}
            )
            assert answer.json()["predictions"][0]["digit"] == 7
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{service.url}/health/live", trust_env=False, timeout=HANG)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{service.url}/health/live".replace("https", "http"), trust_env=False, timeout=HANG)


def test_an_invalid_certificate_or_key_is_refused_with_the_settings(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    valid, key = certificate
    check_certificate(valid, key)
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    wrong = {"none.pem": "No such file", "other.pem": "mismatch", "certificate.pem": "tls_key"}
    for name, text in wrong.items():
        with pytest.raises(ValueError, match="tls_certificate, tls_key") as error:
            check_certificate(valid, tmp_path / name)
        assert text.lower() in str(error.value).lower()
