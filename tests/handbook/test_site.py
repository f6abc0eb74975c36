"""The site is complete, needs no network, and its reference pages agree with the code."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from handbook import http_api
from handbook.hooks import GENERATED, MARK
from handbook.metrics import metrics
from handbook.metrics import name as name_of
from handbook.schema import title
from models.solvers.methods import METHODS
from service.cli.arguments import parser
from service.cli.commands import COMMANDS
from service.environment import PREFIX
from service.settings import Settings
from tests.handbook.blocks import PAGES, ROOT
from tests.handbook.test_not_run import help_text
from training.cli import app

FETCHED = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "input": "src", "link": "href", "object": "data",
    "script": "src", "source": "src", "track": "src", "video": "src",
}  # fmt: skip
"""The tags whose content a browser fetches by itself, each with the attribute that has the URL."""

OF_CSS = re.compile(r"@import\s+[\"']?([^\"';]+)|url\(\s*[\"']?([^\"')]+)")


class Fetches(HTMLParser):
    """The URLs that a page makes a browser fetch, its links and its ids."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag in FETCHED and (url := attributes.get(FETCHED[tag])):
            self.urls.append(url)
        for url in (attributes.get("srcset") or "").split(","):
            self.urls.extend(url.split()[:1])
        self.urls.extend(first or second for first, second in OF_CSS.findall(attributes.get("style") or ""))
        if tag == "a" and (url := attributes.get("href")):
            self.links.append(url)
        if attributes.get("id"):
            self.ids.add(str(attributes["id"]))


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_every_page_of_the_contents_exists(site: Path) -> None:
    contents = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert len(contents) > 10
    for page in contents:
        assert (site / page).with_suffix(".html").is_file()


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    for page in pages(site):
        for url in Fetches(page).urls:
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc) in {("", ""), ("data", "")}, f"{page}: {url}"
            if not parts.scheme and page.name != "404.html":  # which is served at any path
                assert (page.parent / unquote(parts.path)).exists(), f"{page}: {url}"
    for sheet in site.rglob("*.css"):
        for url in filter(None, sum(OF_CSS.findall(sheet.read_text(encoding="utf-8")), ())):
            assert urlsplit(url).scheme in {"", "data"}, f"{sheet}: {url}"
            assert not urlsplit(url).netloc, f"{sheet}: {url}"


def test_every_link_within_the_site_has_a_target(site: Path) -> None:
    ids = {page: Fetches(page).ids for page in pages(site)}
    for page in pages(site):
        for link in Fetches(page).links:
            parts = urlsplit(link)
            if parts.scheme or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page}: {link}"
            if parts.fragment and target in ids:
                assert unquote(parts.fragment) in ids[target] | {"__skip"}, f"{page}: {link}"


def test_every_link_of_the_readme_leads_to_a_file_and_a_heading(site: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    for link in links:
        path, _, heading = link.partition("#")
        assert (ROOT / path).is_file(), link
        if heading:
            page = (site / Path(path).relative_to("docs")).with_suffix(".html")
            assert heading in Fetches(page).ids, link


def test_formulas_are_mathml(site: Path) -> None:
    page = text_of(site, "explanation/mathematics.html")
    source = (ROOT / "docs" / "explanation" / "mathematics.md").read_text(encoding="utf-8")
    displayed = source.count("$$") // 2
    assert page.count('display="block"') == displayed > 5
    assert page.count("<math") == displayed + len(re.findall(r"\$[^$\n]+\$", source.replace("$$", "")))
    assert "arithmatex" not in page
    assert "\\" not in "".join(re.findall(r"<math.*?</math>", page, re.DOTALL))


def test_every_setting_is_documented_and_is_in_the_help_text(site: Path) -> None:
    page, help_ = text_of(site, "reference/settings.html"), help_text("-m", "service")
    for name in Settings.model_fields:
        flag = f"--{name.replace('_', '-')}"
        assert flag in help_
        assert f"<code>{flag}</code>" in page
        assert f"<code>{PREFIX}{name.upper()}</code>" in page
    assert str(ROOT) not in page


def test_every_route_and_schema_is_documented(site: Path) -> None:
    index, document = text_of(site, "reference/http-api.html"), http_api.openapi()
    page = "".join(text_of(site, path.replace(".md", ".html")) for path in http_api.pages())
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in index
            assert re.search(rf"<h2[^>]*><code>{method.upper()} {re.escape(path)}</code>", page)
    assert {method for method in METHODS if method in page} == set(METHODS)
    for schema in document["components"]["schemas"]:
        assert f"<summary>{title(schema)}</summary>" in page


def test_every_column_of_a_table_of_the_reference_has_a_name(site: Path) -> None:
    for page in pages(site / "reference"):
        assert not re.search(r"<th[^>]*></th>", text_of(site, str(page.relative_to(site)))), page


def test_a_page_of_docs_does_not_repeat_the_sentence_for_readers_of_the_repository(site: Path) -> None:
    for path in GENERATED:
        assert MARK in (ROOT / "docs" / path).read_text(encoding="utf-8")
        assert "The rest of this page is generated" not in text_of(site, path.replace(".md", ".html"))


def test_every_link_of_docs_leads_to_a_file_of_the_repository() -> None:
    """So the links also work where the repository is read without the site."""
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_every_metric_is_documented_here_and_in_observability(site: Path) -> None:
    generated = text_of(site, "reference/metrics.html")
    source = (ROOT / "docs" / "howto" / "observe.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`odenet_[^|]*)\|([^|]*)\|", source, re.MULTILINE)
    documented = {metric: labels.strip() for names, labels in rows for metric in re.findall(r"odenet_\w+", names)}
    assert documented == {name_of(each): ", ".join(each.labels) for each in metrics()}
    for metric in documented:
        assert f"<code>{metric}</code>" in generated


def test_every_command_is_documented(site: Path) -> None:
    page = text_of(site, "reference/commands.html")
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"python -m training {command.callback.__name__}" in page
    for word in ("predict", *COMMANDS):
        assert f"python -m service {word}</code>" in page
    for option in re.findall(r"--[\w-]+", parser().format_help()):
        assert option in page
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets is not None
    for target in set(targets[1].split()) - {"lint", "types", "clean"}:
        assert f"<code>{target}</code>" in page
