"""Hooks of mkdocs.yml: links that work in the repository work on the site, too.

Pages link to files beside ``docs/``. A Markdown file in `PAGES` becomes a page of the site; any
other file that is linked is copied as text.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from research import DOCS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["PAGES", "on_files", "on_page_markdown"]

ROOT: Final = DOCS.parent
PAGES: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/javascript/README.md": "javascript.md",
    "examples/c/README.md": "c.md",
}
"""Address on the site of each page beside ``docs/``, by its path in the repository."""
_ORIGIN: Final = {address: path for path, address in PAGES.items()}
_LINK: Final = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the linked files that are not in ``docs/``."""
    from mkdocs.structure.files import File

    for path, address in PAGES.items():
        content = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=content))
    linked = {path for file in files.documentation_pages() for path in _linked(file.src_uri)}
    for path in sorted(linked):
        if (address := _address(path)) not in files.src_uris:
            files.append(File.generated(config, address, content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn the links of the repository into those of the site."""
    folder = _path(page.file.src_uri).parent
    return _LINK.sub(lambda link: _address(_resolve(folder, link[0])), markdown)


def _path(address: str) -> PurePosixPath:
    """Path in the repository of a page of the site."""
    return PurePosixPath(_ORIGIN.get(address, f"docs/{address}"))


def _linked(address: str) -> set[str]:
    path = _path(address)
    links = _LINK.findall((ROOT / path).read_text(encoding="utf-8"))
    return {target for link in links if Path(ROOT, target := _resolve(path.parent, link)).is_file()}


def _resolve(folder: PurePosixPath, link: str) -> str:
    return PurePosixPath(os.path.normpath(folder / link)).as_posix()


def _address(path: str) -> str:
    """Address on the site of a file in the repository; all pages are in one folder."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return PAGES.get(path, f"source/{path}.txt")
