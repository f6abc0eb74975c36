"""Connects the command to a service, by its URL or by the settings, or to an application in this process."""

import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import getproxies, proxy_bypass

import httpx

from models.artifact import ArtifactError, newest
from service.cli.arguments import Arguments
from service.cli.errors import Exit, NoAnswerError
from service.settings import Settings, is_loopback

SECONDS = 60
"""How long we wait for an answer, in addition to the deadline of the request."""

CONNECT_SECONDS = 5

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""The addresses at which we reach a service that listens on all addresses."""


@asynccontextmanager
async def connected(arguments: Arguments, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service, or of an application in this process if no service runs and no URL is given.

    Raises:
        NoAnswerError: the application cannot be started, the certificate in the settings cannot be read, or the proxy
            in the environment cannot be used.
    """
    own = settings.model_copy(update={"host": LOOPBACK.get(settings.host, settings.host)})
    if arguments.url is None and not _listens(own):
        print(f"nothing listens at {own.url}; answering in this process", file=sys.stderr)  # noqa: T201
        async with _in_process(settings, arguments.query.model) as client:
            yield client
        return
    try:
        trusted = _trusted(own if arguments.url is None else None)
    except OSError as error:
        raise NoAnswerError(Exit.unreachable, f"tls_certificate: {settings.tls_certificate}: {error}") from error
    try:
        client = httpx.AsyncClient(
            base_url=arguments.url or own.url,
            headers={} if arguments.key is None else {"authorization": f"Bearer {arguments.key}"},
            verify=trusted,
            timeout=httpx.Timeout(SECONDS + (arguments.query.deadline_ms or 0) / 1e3, connect=CONNECT_SECONDS),
            trust_env=arguments.url is not None and not is_loopback(httpx.URL(arguments.url).host),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # a SOCKS proxy, an unknown scheme, or no URL
        raise NoAnswerError(Exit.unreachable, f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: {error}") from error
    async with client:
        yield client


def through_proxy(client: httpx.AsyncClient) -> str:
    """The proxy that a client of a service uses, for errors; empty without a proxy. It does not repeat a password."""
    url = client.base_url
    if not client.trust_env or proxy_bypass(url.host):
        return ""
    proxies = getproxies()
    variable = next((scheme for scheme in (url.scheme, "all") if scheme in proxies), None)
    if variable is None:
        return ""
    address = proxies[variable]
    proxy = httpx.URL(address if "://" in address else f"http://{address}")
    return (
        f" through the proxy {proxy.host}:{proxy.port or 80} in {variable.upper()}_PROXY; NO_PROXY={url.host} avoids it"
    )


def _listens(settings: Settings) -> bool:
    """Whether anything listens at the address of the settings."""
    try:
        with socket.create_connection((settings.host, settings.port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _trusted(settings: Settings | None) -> ssl.SSLContext:
    """The trusted certificates: only the certificate in the settings, or the system's without such a setting."""
    if settings is None or settings.tls_certificate is None:
        return ssl.create_default_context()
    trusted = ssl.create_default_context(cafile=settings.tls_certificate)
    trusted.check_hostname = False  # the certificate is for the name that other machines use
    trusted.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not belong to an authority
    return trusted


@asynccontextmanager
async def _in_process(settings: Settings, model: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in this process, which serves the requested model and needs no key.

    Raises:
        NoAnswerError: the application cannot be created.
    """
    from service.app import create_app  # noqa: PLC0415 (the import takes longer than a request to a service)

    with _one_model(settings, model) as alone:
        try:
            app = create_app(alone.model_copy(update={"workers": 1, "api_key_file": None}))
        except (ArtifactError, OSError, ValueError) as error:
            raise NoAnswerError(Exit.unreachable, str(error)) from error
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            yield client


@contextmanager
def _one_model(settings: Settings, name: str | None) -> Iterator[Settings]:
    """The settings with a models folder that holds only one model, because loading all models takes seconds.

    If there is no model of this name, the settings are unchanged, and the application reports the error.
    """
    name = settings.model if name is None else name
    if name not in {folder.name for folder in settings.models.glob("*/") if newest(folder) is not None}:
        yield settings
        return
    with TemporaryDirectory(prefix="odenet-") as folder:
        Path(folder, name).symlink_to((settings.models / name).resolve())
        yield settings.model_copy(update={"models": Path(folder), "model": name})
