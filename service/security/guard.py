"""Checks the API key of each request: whether it is valid, has the needed scope, and is within its rate limit."""

import base64

from service.errors import FieldError, ForbiddenError, RateLimitedError, UnauthenticatedError
from service.security import keys
from service.security.keys import Key, Keys
from service.security.rates import Rates
from service.telemetry import context

OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key, because the programs that start the service and the load balancers have none."""

METRICS = "/metrics"
CONTROL = "/v2/repository/models/"
"""The start of all paths that change which models are served."""

LONGEST_KEY = 512
"""The greatest number of characters of a key."""


class Guard:
    """Passes on only requests whose header Authorization holds a valid key with the needed scope.

    The header is `Bearer KEY` (RFC 6750), or `Basic` with the key as the password of any user (RFC 7617). Browsers
    prompt for a `Basic` password. But browsers also send the password again with requests that any page makes. So
    `Basic` is enough to read and to predict, and a request that changes something needs `Bearer`.

    Args:
        keys: the valid keys.
        rates: count the uses of the keys.
    """

    def __init__(self, keys: Keys, rates: Rates) -> None:
        self._keys = keys
        self._rates = rates

    def check(self, scope: keys.Scope | None, authorization: str) -> None:
        """Check whether a request may pass.

        Args:
            scope: the scope that the request needs; None if it needs no key.
            authorization: the header Authorization; empty if the request does not have it.

        Raises:
            UnauthenticatedError: the request has no key, or its key is not valid.
            ForbiddenError: the key lacks the needed scope.
            RateLimitedError: the key is used too often.
        """
        if scope is None:
            return
        scheme, secret = credentials(authorization)
        if not secret:
            raise UnauthenticatedError(FieldError("authorization", "must be Bearer followed by an API key"))
        key = self._keys.find(secret)
        if key is None:
            raise UnauthenticatedError(FieldError("authorization", "holds no valid API key"))
        context.current().key = key.name
        self._check_scope(key, scope, scheme)
        if seconds := self._rates.take(key):
            message = f"key '{key.name}' is limited to {key.requests_per_minute:,} requests per minute; "
            message += f"ask again after {seconds} s"
            raise RateLimitedError(FieldError("authorization", message), retry_after=seconds)

    def _check_scope(self, key: Key, scope: keys.Scope, scheme: str) -> None:
        if scope not in key.scopes:
            listed = ", ".join(sorted(each.value for each in key.scopes))
            message = f"needs the scope {scope.value}; key '{key.name}' has {listed}"
            raise ForbiddenError(FieldError("authorization", message))
        if scope is keys.Scope.admin and scheme != "bearer":
            message = "must be Bearer here, because any page can make a browser send Basic"
            raise ForbiddenError(FieldError("authorization", message))


def needed_scope(path: str) -> keys.Scope | None:
    """The scope that an HTTP request to a path needs; None if it needs no key."""
    if path in OPEN:
        return None
    if path.startswith(CONTROL):
        return keys.Scope.admin
    return keys.Scope.metrics if path == METRICS else keys.Scope.predict


def credentials(authorization: str) -> tuple[str, str]:
    """The scheme, in lower case, and the key of a header Authorization; each is empty if it is missing."""
    scheme, _, secret = authorization.partition(" ")
    scheme, secret = scheme.lower(), secret.strip()
    if scheme == "basic":
        try:
            secret = base64.b64decode(secret, validate=True).decode().partition(":")[2]
        except ValueError:
            secret = ""
    elif scheme != "bearer":
        return "", ""
    return scheme, secret if len(secret) <= LONGEST_KEY else ""
