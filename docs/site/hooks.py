"""What the site has beyond docs/*.md: pages of the repository's root, the page of commands, linked files.

Links lead where they lead on a code host. What they point to outside of docs/ becomes a page, if it is one of
:data:`PAGES`, or a file of the site.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
#: Pages that stand at the root of the repository, by their names in the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code_of_conduct.md",
}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add pages and files that do not stand in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "commands.md", content=commands()))
    for source in sorted(linked_files()):
        files.append(
            File.generated(config, f"files/{source}.txt", content=(ROOT / source).read_text("utf-8"))
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to their targets in the site."""
    return relinked(markdown, source_of(page.file.src_uri), page.file.src_uri)


def source_of(page: str) -> str:
    """Return where the source of a page stands in the repository."""
    return next((source for source, name in PAGES.items() if name == page), f"docs/{page}")


def relinked(markdown: str, source: str, page: str) -> str:
    """Return a page whose links lead to the places that their targets have in the site."""

    def replaced(match: re.Match[str]) -> str:
        begin, target, anchor, end = match.groups()
        if "://" in target or target.startswith(("mailto:", "/")):
            return match.group()
        place = in_site(normpath(os.path.join(os.path.dirname(source), target)))
        return f"{begin}{relpath(place, os.path.dirname(page) or '.')}{anchor or ''}{end}"

    return LINK.sub(replaced, markdown)


def in_site(path: str) -> str:
    """Return where a file of the repository stands in the site."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}.txt"


def linked_files() -> Iterator[str]:
    """Yield the files outside of docs/, and not pages, that pages link to."""
    sources = [ROOT / name for name in PAGES] + [*(ROOT / "docs").rglob("*.md")]
    seen = set()
    for source in sources:
        for _, target, _, _ in LINK.findall(source.read_text(encoding="utf-8")):
            path = normpath(os.path.join(os.path.dirname(source.relative_to(ROOT).as_posix()), target))
            if "://" not in target and not path.startswith("docs/") and path not in PAGES:
                seen.add(path)
    yield from (path for path in seen if (ROOT / path).is_file())


def commands() -> str:
    """Return the page of all commands: what ``dmg-bmi COMMAND --help`` says."""
    from dmg_bmi.cli import parser

    os.environ["COLUMNS"] = "110"
    parts = ["# Commands\n\nWhat `dmg-bmi COMMAND --help` says of each; `-q` and `-v` go with all of them.\n"]
    for name, sub in subparsers(parser()).items():
        parts.append(f"## dmg-bmi {name}\n\n```text\n{filled(sub).format_help()}```\n")
        for action, below in subparsers(sub).items():
            parts.append(f"### dmg-bmi {name} {action}\n\n```text\n{filled(below).format_help()}```\n")
    return "\n".join(parts)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def filled(parser: Any) -> argparse.ArgumentParser:
    """Return a parser that has its arguments."""
    return parser.filled() if hasattr(parser, "filled") else parser
