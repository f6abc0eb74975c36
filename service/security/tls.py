"""The certificate that the service shows."""

import ssl
from pathlib import Path


def check_certificate(certificate: Path, key: Path) -> None:
    """See whether a certificate and its private key are there, and belong together.

    Raises:
        ValueError: they are or do not.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise ValueError(f"tls_certificate, tls_key: {certificate}, {key}: {error.strerror or error}") from error
