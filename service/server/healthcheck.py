"""``python -m service.server.healthcheck``: exit status 0 if the service of this container is ready.

A container engine runs this program every few seconds, so it imports nothing that takes long.
"""

import os
import ssl
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from service.environment import variables

SECONDS = 2


def ready(port: int, *, tls: bool) -> bool:
    """Whether the service at a port of this machine says that it is ready."""
    context = ssl.create_default_context()
    context.check_hostname = False  # the certificate is for the callers outside, who use another host name
    context.verify_mode = ssl.CERT_NONE
    connection = (
        HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=context)
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
    ours = variables(os.environ)
    sys.exit(not ready(int(ours.get("ODENET_PORT", "8000")), tls="ODENET_TLS_CERTIFICATE" in ours))
