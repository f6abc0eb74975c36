"""Checks the TLS certificate of the service."""

import ssl
from pathlib import Path


def check_certificate(certificate: Path, key: Path) -> None:
    """Check that a certificate and its private key exist and belong together.

    Raises:
        ValueError: one of the files cannot be read, or they do not belong together.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise ValueError(f"tls_certificate, tls_key: {certificate}, {key}: {error.strerror or error}") from error
