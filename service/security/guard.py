"""Who may ask for what: the key that a request shows, its scopes, and how often it is used."""

import base64
import binascii
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import FieldError, ForbiddenError, RateLimitedError, RequestError, UnauthenticatedError
from service.security import keys
from service.security.keys import Key, Keys
from service.security.rates import Rates
from service.telemetry import context

OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
"""What needs no key: those who start and route to the service have none."""

METRICS = "/metrics"
CONTROL = "/v2/repository/models/"
"""Whatever begins so changes what is served."""

LONGEST_KEY = 512
"""Characters."""

Answer = Callable[[str, RequestError], ASGIApp]
"""Puts an error of a request to a path into the form of the path's protocol."""


class Guard:
    """Lets requests pass that show a key which is for what they ask, in the header Authorization.

    That is `Bearer KEY` (RFC 6750), or `Basic` with the key as the password of any user (RFC 7617), which browsers ask
    for by themselves. They also send it by themselves, at the bidding of any page, and so it does for no more than to
    look and to ask: what changes something needs the first form.

    Args:
        app: what answers.
        keys: that are in force.
        rates: how often they are used.
        answer: tells an error.
    """

    def __init__(self, app: ASGIApp, keys: Keys, rates: Rates, answer: Answer) -> None:
        self._app = app
        self._keys = keys
        self._rates = rates
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                self._check(scope["path"], Headers(scope=scope).get("authorization", ""))
            except RequestError as error:
                app = self._answer(scope["path"], error)
        await app(scope, receive, send)

    def _check(self, path: str, authorization: str) -> None:
        """See whether a request may pass.

        Raises:
            UnauthenticatedError: it shows no key, or one that is not in force.
            ForbiddenError: its key is for something else.
            RateLimitedError: its key is used too often.
        """
        scheme, secret = credentials(authorization)
        if not secret:
            raise UnauthenticatedError(FieldError("authorization", "must be Bearer and an API key"))
        key = self._keys.find(secret)
        if key is None:
            raise UnauthenticatedError(FieldError("authorization", "holds no key that is in force"))
        context.note(key=key.name)
        self._permit(key, needed(path), scheme)
        if seconds := self._rates.take(key):
            message = f"{key.requests_per_minute:,} requests a minute are what the key {key.name} is for; "
            message += f"ask again after {seconds} s"
            raise RateLimitedError(FieldError("authorization", message), retry_after=seconds)

    def _permit(self, key: Key, scope: keys.Scope, scheme: str) -> None:
        if scope not in key.scopes:
            listed = ", ".join(sorted(each.value for each in key.scopes))
            message = f"needs the scope {scope.value}; the key {key.name} is for {listed}"
            raise ForbiddenError(FieldError("authorization", message))
        if scope is keys.Scope.admin and scheme != "bearer":
            raise ForbiddenError(FieldError("authorization", "must be Bearer here, as browsers send Basic unasked"))


def needed(path: str) -> keys.Scope:
    """The scope that a request to a path needs."""
    if path.startswith(CONTROL):
        return keys.Scope.admin
    return keys.Scope.metrics if path == METRICS else keys.Scope.predict


def credentials(authorization: str) -> tuple[str, str]:
    """The scheme, in small letters, and the key of a header Authorization; empty where there is none."""
    scheme, _, told = authorization.partition(" ")
    scheme, told = scheme.lower(), told.strip()
    if scheme == "basic":
        try:
            told = base64.b64decode(told, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            told = ""
    elif scheme != "bearer":
        return "", ""
    return scheme, told if len(told) <= LONGEST_KEY else ""
