"""``GET /``: the page, and the files that the page loads."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.staticfiles import StaticFiles

from service.environment import KEY

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy of the page: the page loads nothing from other servers and sends nothing to them."""

FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


def router(*, keys: bool) -> APIRouter:
    """The routes.

    The path of each file contains a digest of all files. So a browser may cache the files for ever, and it never
    combines files of two versions. The digest is part of the page, so the browser must check the page on each visit.

    Args:
        keys: whether requests need an API key. If so, the page names the variable `KEY` in the programs that it shows.
    """
    routes = APIRouter(include_in_schema=False)
    digest = _digest()
    text = (FOLDER / PAGE).read_text(encoding="utf-8").replace('="static/', f'="static/{digest}/')
    if keys:
        text = text.replace("<html ", f'<html data-key-variable="{KEY}" ', 1)
    page = text.encode()
    etag = f'"{hashlib.sha256(page).hexdigest()[:16]}"'
    files = StaticFiles(directory=FOLDER)

    @routes.get("/")
    async def get_page(request: Request) -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": ASK_AGAIN, "etag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(page, headers=headers, media_type="text/html")

    @routes.get("/static/{version}/{name}")
    async def get_file(request: Request, version: str, name: str) -> Response:
        if version != digest:
            raise HTTPException(404)
        answer = await files.get_response(name, request.scope)
        answer.headers.update({"content-security-policy": POLICY, "cache-control": FOR_EVER})
        return answer

    return routes


def _digest() -> str:
    """A digest of the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
