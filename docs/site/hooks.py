"""What MkDocs calls while it builds the site: other pages, links, and a check that it works offline."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from detector.metrics.docs_table import with_tables
from docs.site.reference import PAGES

ROOT = Path(__file__).parent.parent.parent
OF_THE_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that stand beside docs/, and where the site has them."""
_CHAPTERS = {"decisions/README.md": "decisions", "runbooks/README.md": "runbooks"}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
_IMPORTED = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"';]*")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision and every runbook below its overview in the navigation."""
    for group in config.nav or ():
        for entries in group.values():
            if isinstance(entries, list):
                entries[:] = [_with_chapters(entry) for entry in entries]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root and those that the code describes."""
    for name, target in OF_THE_ROOT.items():
        files.append(File.generated(config, target, content=(ROOT / name).read_text(encoding="utf-8")))
    for target, page in PAGES.items():
        files.append(File.generated(config, target, content=page()))
    icon = ROOT / "detector" / "explore" / "static" / "icon.svg"
    files.append(File.generated(config, "images/icon.svg", content=icon.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has their pages; those to folders of the tree become words."""
    if page.file.src_uri in PAGES:
        return markdown
    if page.file.src_uri == "metrics.md":
        markdown = with_tables(markdown)
    source = {target: name for name, target in OF_THE_ROOT.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )
    return _LINK.sub(lambda found: _led(found, source, page.file.src_uri), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that loads anything from elsewhere: it must work without a network."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        pattern = {".html": _LOADED, ".css": _IMPORTED}.get(path.suffix)
        found = pattern.search(path.read_text(encoding="utf-8")) if pattern else None
        if found and 'rel="canonical"' not in found[0]:
            raise PluginError(f"{path.relative_to(config.site_dir)} loads {found[0]!r} from elsewhere")


def _with_chapters(entry: Any) -> Any:
    (title, target), *_ = entry.items()
    folder = _CHAPTERS.get(target) if isinstance(target, str) else None
    if folder is None:
        return entry
    names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
    return {title: [target, *(f"{folder}/{name}" for name in names if name != "README.md")]}


def _led(found: re.Match[str], source: str, page: str) -> str:
    """Return a link as the site needs it.

    Args:
        found: the link of Markdown.
        source: the file that has it, from the root of the tree.
        page: the page that has it, from the root of the site.
    """
    mark, words, target, anchor = found[1], found[2], found[3], found[4] or ""
    if "://" in target or target.startswith("mailto:"):
        return found[0]
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    inside = OF_THE_ROOT.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
    if inside is None:
        return words
    return f"{mark}[{words}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{anchor})"
