"""Functions that MkDocs calls while it builds the site (``hooks`` in mkdocs.yml)."""

import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from handbook import artifact, commands, http_api, metrics, settings

GENERATED = {
    "reference/http-api.md": http_api.page,
    "reference/settings.md": settings.page,
    "reference/commands.md": commands.page,
    "reference/metrics.md": metrics.page,
    "reference/artifact.md": artifact.page,
}
"""The generated pages, each with the function that writes it."""

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?P<open>[(\[])(?P<formula>.*?)\\[)\]]</(span|div)>', re.DOTALL)
"""A formula in the output of pymdownx.arithmatex."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, write in GENERATED.items():
        files.append(File.generated(config, path, content=write()))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (MkDocs passes them by name)
    """Turn formulas into MathML, which browsers show without a script or an additional font."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    return convert(unescape(found["formula"]), display="block" if found["open"] == "[" else "inline")
