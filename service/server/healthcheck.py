"""``python -m service.server.healthcheck``: whether the service of this container is ready.

It is asked again and again, so it imports nothing that takes long.
"""

import os
import ssl
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

SECONDS = 2


def ready(port: int, *, tls: bool) -> bool:
    """Whether the service at this machine's port says so."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False  # the certificate is for those outside
    trusting.verify_mode = ssl.CERT_NONE
    connection = (
        HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=trusting)
        if tls
        else HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    )
    with closing(connection):
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


if __name__ == "__main__":
    # An empty variable is none, as for the service's settings.
    port, certificate = os.environ.get("ODENET_PORT") or "8000", os.environ.get("ODENET_TLS_CERTIFICATE")
    sys.exit(not ready(int(port), tls=bool(certificate)))
