"""What MkDocs lacks: pages of the repository's root, and links that fit both places.

The pages are written for the repository. `README.md` becomes the first page of the site, the other
pages of the root follow it, and links between them and `docs` are adapted. A link to a file that
is not on the site, such as a module, stays as text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FURTHER_PAGES = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
ROOT_PAGES = {"README.md": "index.md", **{name: name for name in FURTHER_PAGES}}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace ``folder/*`` in the navigation by the other pages of that folder."""
    config.nav = _expanded(config.nav, _named(config.nav), Path(config.docs_dir))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name, address in ROOT_PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: object) -> str:
    """Return the text of the page with the links of the repository as links of the site."""
    return adapt_links(markdown, page.file.src_uri, set(files.src_uris))


def adapt_links(markdown: str, address: str, addresses: set[str]) -> str:
    """Return `markdown` of the page at `address` with links to `addresses` of the site only."""
    in_repository = {site: name for name, site in ROOT_PAGES.items()}
    folder = (ROOT / in_repository.get(address, f"docs/{address}")).parent

    def adapted(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups(default="")
        path = Path(os.path.normpath(folder / target))
        if "://" in target or not path.exists():
            return link.group()  # MkDocs reports it if it leads nowhere
        found = _address(path)
        if found not in addresses:
            return text
        relative = os.path.relpath(found, Path(address).parent)
        return f"{picture}[{text}]({relative}{anchor})"

    return LINK.sub(adapted, markdown)


def _address(path: Path) -> str | None:
    """Return where a file of the repository is on the site."""
    name = path.relative_to(ROOT).as_posix()
    return ROOT_PAGES.get(name, name.removeprefix("docs/") if name.startswith("docs/") else None)


def _named(entries: list | dict | str) -> set[str]:
    """Return all pages that the navigation names."""
    if isinstance(entries, str):
        return {entries}
    inner = entries.values() if isinstance(entries, dict) else entries
    return set().union(*map(_named, inner))


def _expanded(entries: list | dict | str, named: set[str], docs: Path) -> list | dict | str:
    """Return the navigation with all pages of each ``folder/*`` that are not in `named`."""
    if isinstance(entries, dict):
        return {title: _expanded(inner, named, docs) for title, inner in entries.items()}
    if isinstance(entries, str):
        return entries
    pages = []
    for entry in entries:
        if isinstance(entry, str) and entry.endswith("/*"):
            found = sorted((docs / entry).parent.glob("*.md"), key=_readme_first)
            names = (path.relative_to(docs).as_posix() for path in found)
            pages += [name for name in names if name not in named and "0000-" not in name]
        else:
            pages.append(_expanded(entry, named, docs))
    return pages


def _readme_first(path: Path) -> tuple[bool, str]:
    """Return the key by which the pages of a folder are sorted."""
    return path.name != "README.md", path.name
