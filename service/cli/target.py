"""What is asked: a service, by its URL or by the settings, or an application of this process."""

import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from models.artifact import ArtifactError, newest
from service.cli.arguments import Asked
from service.cli.errors import Exit, NoAnswerError
from service.settings import Settings

SECONDS = 60
"""For which an answer is waited, beyond the deadline of the request."""

CONNECT_SECONDS = 5

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where a service is reached that listens on every address."""


@asynccontextmanager
async def connected(asked: Asked, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of what is to be asked.

    Raises:
        NoAnswerError: it cannot be started in this process, or the certificate of the settings cannot be read.
    """
    own = settings.model_copy(update={"host": ANYWHERE.get(settings.host, settings.host)})
    if asked.url is None and not _listens(own):
        print(f"nothing listens at {own.url}; answering in this process", file=sys.stderr)  # noqa: T201
        async with _in_process(settings, asked.query.model) as client:
            yield client
        return
    try:
        trusted = _trusted(own if asked.url is None else None)
    except OSError as error:
        raise NoAnswerError(Exit.unreachable, f"tls_certificate: {settings.tls_certificate}: {error}") from error
    async with httpx.AsyncClient(
        base_url=asked.url or own.url,
        headers={} if asked.key is None else {"authorization": f"Bearer {asked.key}"},
        verify=trusted,
        timeout=httpx.Timeout(SECONDS + (asked.query.deadline_ms or 0) / 1e3, connect=CONNECT_SECONDS),
        trust_env=asked.url is not None,
    ) as client:
        yield client


def _listens(settings: Settings) -> bool:
    """Whether anything listens where the service of these settings would."""
    try:
        with socket.create_connection((settings.host, settings.port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _trusted(settings: Settings | None) -> ssl.SSLContext:
    """Whom to trust: for the service of these settings its very certificate, for any other whom the system trusts."""
    if settings is None or settings.tls_certificate is None:
        return ssl.create_default_context()
    trusted = ssl.create_default_context(cafile=settings.tls_certificate)
    trusted.check_hostname = False  # the certificate is for those outside
    trusted.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN  # so that it need not be an authority's
    return trusted


@asynccontextmanager
async def _in_process(settings: Settings, model: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application of this process, which serves the model that is asked and wants no key.

    Raises:
        NoAnswerError: the application cannot be made.
    """
    from service.app import create_app  # noqa: PLC0415 (it takes longer to import than a service to ask)

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
    """The settings with a models folder of one model, as to load all that there are takes seconds.

    Where there is no model of that name, they are as they were, for the application to say so.
    """
    name = settings.model if name is None else name
    if name not in {folder.name for folder in settings.models.glob("*/") if newest(folder) is not None}:
        yield settings
        return
    with TemporaryDirectory(prefix="odenet-") as folder:
        Path(folder, name).symlink_to((settings.models / name).resolve())
        yield settings.model_copy(update={"models": Path(folder), "model": name})
