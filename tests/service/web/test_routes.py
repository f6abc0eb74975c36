"""The routes that serve the page and its files."""

import re

import httpx
import pytest

from service.web.routes import FOLDER, POLICY


def files(client: httpx.Client) -> list[str]:
    """The files that the page needs, without the pages to which it links."""
    return re.findall(r'(?:src|href)="(static/[^"]+)"', client.get("/").text)


def test_a_browser_checks_the_page_each_time_and_loads_it_only_after_a_change(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    known = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["etag"] == page.headers["etag"]
    assert client.get("/", headers={"if-none-match": '"another"'}).status_code == 200


def test_browsers_may_cache_the_files_for_ever(client: httpx.Client) -> None:
    names = files(client)
    assert len(names) >= 3
    for name in names:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        known = client.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert known.status_code == 304


def test_every_file_of_the_folder_is_served_unchanged(client: httpx.Client) -> None:
    base = files(client)[0].rpartition("/")[0]
    for path in FOLDER.iterdir():
        assert client.get(f"/{base}/{path.name}").content == path.read_bytes()


@pytest.mark.parametrize("name", ["none.js", "../routes.py", "%2e%2e%2froutes.py", "..%5croutes.py", ""])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    base = files(client)[0].rpartition("/")[0]
    answer = client.get(f"/{base}/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_head_requests_are_answered(client: httpx.Client) -> None:
    for path in ("", *files(client)):
        whole, head = client.get(f"/{path}"), client.head(f"/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))


def test_files_of_another_version_are_not_found(client: httpx.Client) -> None:
    assert client.get("/static/0123456789abcdef/app.js").status_code == 404


def test_the_page_and_its_files_have_the_content_security_policy(client: httpx.Client) -> None:
    for path in ("", *files(client)):
        assert client.get(f"/{path}").headers["content-security-policy"] == POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY


def test_the_page_loads_only_local_files() -> None:
    """The only address in the files is a namespace of XML."""
    for path in FOLDER.iterdir():
        if path.suffix in {".html", ".css", ".js", ".svg"}:
            found = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"')]*", path.read_text(encoding="utf-8")))
            assert found <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_documentation_is_linked_and_answers(client: httpx.Client) -> None:
    assert 'href="docs"' in client.get("/").text
    assert client.get("/docs").status_code == 200
