"""The security headers for browsers, which every answer has."""

ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Answers are data, so browsers must not run them, guess their type, or show them in a frame. Our pages set policies
of their own."""

OVER_TLS = {"strict-transport-security": "max-age=31536000"}


def security_headers(*, tls: bool) -> list[tuple[bytes, bytes]]:
    """The headers that each answer gets unless it has them (OWASP, "HTTP Security Response Headers").

    Args:
        tls: whether the service uses TLS.
    """
    headers = ALWAYS | (OVER_TLS if tls else {})
    return [(name.encode(), value.encode()) for name, value in headers.items()]
