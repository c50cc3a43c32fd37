"""What a site has besides this folder: the README as its first page, and the specifications.

Links between them are written for a reader of the repository. Here they are turned into links of
the site; what the repository has and the site has not, a folder or a program, keeps its text and
loses its link. What neither has stays as it is: the build is strict, and fails on it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
PAGES = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "protocols/README.md"]


def brought() -> list[str]:
    """Pages from outside the folder, by their place in the repository, which they keep."""
    specs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "specs").rglob("*.md"))
    return [*PAGES, *specs]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for place in brought():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    own = page.file.src_uri
    folder = posixpath.dirname(own if own in brought() else f"docs/{own}")

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if ":" in target:
            return found[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        there = files.get_file_from_path(place.removeprefix("docs/"))
        if there is not None:
            start = posixpath.dirname(own) or "."
            return f"[{text}]({posixpath.relpath(there.src_uri, start)}{anchor})"
        return text if (ROOT / place).exists() else found[0]

    return LINK.sub(link, markdown)
