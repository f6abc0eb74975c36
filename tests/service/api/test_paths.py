"""Paths and methods as monitors, proxies and browsers send them: HEAD, needless slashes, and a folder of a proxy."""

import re
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.digits import encoded, seven
from tests.serving import SHIPPED

PNG = {"content-type": "image/png"}
PAGES = ["/", "/docs", "/openapi.json", "/static-offline-docs/favicon.png"]


def get_paths(client: httpx.Client) -> list[str]:
    """The paths of all documented GET routes, with a model that is served, and of the pages."""
    paths: dict[str, dict[str, Any]] = client.get("/openapi.json").json()["paths"]
    routes = [path for path, methods in paths.items() if "get" in methods]
    return [path.format(name="odenet-mnist", version=SHIPPED.name) for path in routes] + PAGES


def raw(client: httpx.Client, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """The status and the body of the answer to a path that is sent unchanged, and then of a request for liveness.

    The connection stays open. So a body where none belongs would break the second answer.
    """
    with closing(HTTPConnection(client.base_url.host, client.base_url.port or 80)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        result = answer.status, answer.read()
        connection.request("GET", "/health/live")
        assert connection.getresponse().status == 200
    return result


def test_head_is_answered_like_get_without_the_content(client: httpx.Client) -> None:
    paths = get_paths(client)
    assert {"/health/ready", "/v2/health/ready", "/metrics", "/models"} <= set(paths)
    for path in paths:
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]
        assert raw(client, "HEAD", path) == (200, b"")


@pytest.mark.parametrize(("path", "status"), [("/predict", 405), ("/nothing", 404), ("/v2/models/lenet", 404)])
def test_head_is_refused_like_get(client: httpx.Client, path: str, status: int) -> None:
    assert client.get(path).status_code == status
    assert raw(client, "HEAD", path) == (status, b"")
    assert client.head(path).headers.get("allow") == client.get(path).headers.get("allow")


@pytest.mark.parametrize("path", ["/health/ready/", "//health/ready", "/health/ready///", "/metrics/", "/v2/", "//"])
def test_needless_slashes_do_not_matter(client: httpx.Client, path: str) -> None:
    plain = f"/{path.strip('/')}"
    status, content = raw(client, "GET", path)
    assert status == 200
    assert content[:20] == client.get(plain).content[:20]


@pytest.mark.parametrize("path", ["/predict/", "//predict", "/v2/models/odenet-mnist/infer/"])
def test_a_body_is_read_at_a_path_with_needless_slashes(client: httpx.Client, path: str) -> None:
    answer = client.post(f"{client.base_url}{path}", content=encoded(seven()), headers=PNG)
    assert answer.status_code == (400 if "v2" in path else 200), "the body is not JSON"


@pytest.mark.parametrize("path", ["/predict%0A", "/v2/models/odenet-mnist/infer%0A", "/%0A"])
def test_a_path_with_a_line_feed_at_its_end_is_another_path(client: httpx.Client, path: str) -> None:
    assert client.post(path, content=encoded(seven()), headers=PNG).status_code == 404


def test_no_redirect_names_a_host(client: httpx.Client) -> None:
    """Whoever sends the request chooses the host, and a proxy may serve the service at another URL."""
    answer = client.get("/docs/", headers={"host": "evil.example", "x-forwarded-proto": "https"})
    assert (answer.status_code, answer.headers["location"]) == (307, "../docs")


@pytest.mark.parametrize("page", ["", "docs", "docs/"])
def test_all_links_of_the_pages_are_relative(client: httpx.Client, page: str) -> None:
    """So they work behind a proxy that serves the service in a folder, whatever the folder is called."""
    folder = "https://proxy.example/a/digits/"
    answer = client.get(f"/{page}")
    url = folder + page
    while answer.is_redirect:
        url = urljoin(url, answer.headers["location"])
        answer = client.get(url.removeprefix(folder.rstrip("/")))
    links = re.findall(r"""(?:src|href|url)(?:=|: )["']([^"'#]+)["']""", answer.text)
    assert links
    for link in links:
        target = urljoin(url, link)
        assert target.startswith(folder)
        assert client.get(target.removeprefix(folder.rstrip("/"))).status_code == 200


def test_the_server_of_the_openapi_document_is_relative(client: httpx.Client) -> None:
    (server,) = client.get("/openapi.json").json()["servers"]
    assert urljoin("https://proxy.example/digits/openapi.json", server["url"]) == "https://proxy.example/digits/"
