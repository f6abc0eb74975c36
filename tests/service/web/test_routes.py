"""How the page and its files are sent."""

import re

import httpx
import pytest

from service.web.routes import FOLDER, POLICY


def files(client: httpx.Client) -> list[str]:
    """What the page names, but for the pages that it links."""
    return re.findall(r'(?:src|href)="(static/[^"]+)"', client.get("/").text)


def test_the_page_is_asked_for_again_and_sent_again_only_where_it_has_changed(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    known = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["etag"] == page.headers["etag"]
    assert client.get("/", headers={"if-none-match": '"another"'}).status_code == 200


def test_its_files_may_be_kept_for_ever(client: httpx.Client) -> None:
    names = files(client)
    assert len(names) >= 3
    for name in names:
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        known = client.get(f"/{name}", headers={"if-none-match": answer.headers["etag"]})
        assert known.status_code == 304


def test_every_file_of_the_folder_is_there_as_it_lies(client: httpx.Client) -> None:
    base = files(client)[0].rpartition("/")[0]
    for path in FOLDER.iterdir():
        assert client.get(f"/{base}/{path.name}").content == path.read_bytes()


@pytest.mark.parametrize("name", ["none.js", "../routes.py", "%2e%2e%2froutes.py", "..%5croutes.py", ""])
def test_nothing_else_is(client: httpx.Client, name: str) -> None:
    base = files(client)[0].rpartition("/")[0]
    answer = client.get(f"/{base}/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_of_all_of_it_the_head_alone_may_be_asked(client: httpx.Client) -> None:
    for path in ("", *files(client)):
        whole, head = client.get(f"/{path}"), client.head(f"/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))


def test_files_of_another_version_are_not_sent_for_those_of_this_one(client: httpx.Client) -> None:
    assert client.get("/static/0123456789abcdef/app.js").status_code == 404


def test_all_of_it_has_the_policy(client: httpx.Client) -> None:
    for path in ("", *files(client)):
        assert client.get(f"/{path}").headers["content-security-policy"] == POLICY
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """An address in it is a name of XML, or one that is shown."""
    for path in FOLDER.iterdir():
        if path.suffix in {".html", ".css", ".js", ".svg"}:
            found = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"')]*", path.read_text(encoding="utf-8")))
            assert found <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_documents_do_without_the_policy_and_are_linked(client: httpx.Client) -> None:
    assert 'href="docs"' in client.get("/").text
    assert client.get("/docs").status_code == 200
