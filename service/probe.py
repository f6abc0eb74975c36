"""``python -m service.probe``: whether the service of this container is ready.

It is asked again and again, so it imports nothing that takes long.
"""

import os
import ssl
import sys
from urllib.error import URLError
from urllib.request import urlopen

SECONDS = 2


def ready(port: str, *, tls: bool) -> bool:
    """Whether the service on this machine's port says so."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False  # the certificate is for those outside
    trusting.verify_mode = ssl.CERT_NONE
    scheme = "https" if tls else "http"
    try:
        with urlopen(f"{scheme}://127.0.0.1:{port}/health/ready", timeout=SECONDS, context=trusting):  # noqa: S310
            return True
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(not ready(os.environ.get("ODENET_PORT", "8000"), tls="ODENET_TLS_CERTIFICATE" in os.environ))
