"""Functions that MkDocs calls while it builds the site (``hooks`` in mkdocs.yml)."""

import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from handbook import artifact, commands, http_api, metrics, settings

GENERATED = {
    "reference/http-api.md": http_api.index,
    "reference/settings.md": settings.page,
    "reference/commands.md": commands.page,
    "reference/metrics.md": metrics.page,
    "reference/artifact.md": artifact.page,
}
"""The pages that end with a generated part, each with the function that writes this part."""

MARK = "<!-- generated from here on -->"
"""Stands in docs/ where the generated part begins. A sentence for readers of the repository follows it."""

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?P<open>[(\[])(?P<formula>.*?)\\[)\]]</(span|div)>', re.DOTALL)
"""A formula in the output of pymdownx.arithmatex."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated as a whole."""
    for path, tag in http_api.pages().items():
        files.append(File.generated(config, path, content=http_api.page(tag)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (MkDocs passes them by name)
    """Add the generated part to a page."""
    write = GENERATED.get(page.file.src_uri)
    return markdown if write is None else markdown.partition(MARK)[0] + write()


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (MkDocs passes them by name)
    """Turn formulas into MathML, which browsers show without a script or an additional font."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    return convert(unescape(found["formula"]), display="block" if found["open"] == "[" else "inline")
