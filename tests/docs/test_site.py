"""The site has every page within two clicks, its links and names exist; `tasks.py docs` builds it whole."""

from __future__ import annotations

import importlib.util
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.py"))
#: Pages that the hook adds, see docs/site/hooks.py.
MADE = {"index.md", "changelog.md", "security.md", "contributing.md", "code_of_conduct.md", "commands.md"}

#: Described under `dmg_bmi.model`, where they live.
ELSEWHERE = {"FeatureStatistics", "ParameterRole"}


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, which names environment variables by a tag."""


Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node))
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def leaves(nav, depth=0):
    """Pages of a navigation, and how deep they lie."""
    for entry in nav:
        value = entry if isinstance(entry, str) else next(iter(entry.values()))
        if isinstance(value, str):
            yield value, depth
        else:
            yield from leaves(value, depth + 1)


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    listed = [page for page, _ in leaves(SITE["nav"])]
    pages = {path.relative_to(DOCS).as_posix() for path in [*DOCS.rglob("*.md"), *NOTEBOOKS]}
    assert len(listed) == len({*listed})
    assert {*listed} == pages | MADE


def test_every_page_is_within_two_clicks():
    """One for its tab, one for the page; folded sections of a tab would be a third."""
    assert all(depth <= 2 for _, depth in leaves(SITE["nav"]))
    assert "navigation.tabs" in SITE["theme"]["features"]
    assert "navigation.sections" in SITE["theme"]["features"]
    assert "search" in SITE["plugins"]


def test_links_lead_to_files_and_headings():
    """On a code host; in the site `mkdocs build --strict` says so, too."""
    pages = [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
    wrong = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target, anchor in re.findall(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)", text):
            file = (page.parent / target).resolve() if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                wrong.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert wrong == []


def anchors(page):
    """Anchors of a page's headings, as code hosts and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda page: page.stem)
def test_names_of_the_api_pages_exist(page):
    for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        module, _, last = name.rpartition(".")
        assert hasattr(import_module(module), last) or importlib.util.find_spec(name), name


def test_what_the_package_offers_has_its_page():
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md")]
    named = {name for text in pages for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)}
    for module in ("dmg_bmi", "dmg_bmi.forecast", "dmg_bmi.coupling", "dmg_bmi.conformance"):
        offered = {f"{module}.{name}" for name in import_module(module).__all__ if not name.startswith("__")}
        missing = {name for name in offered - named if name.rpartition(".")[2] not in ELSEWHERE}
        assert missing == set(), module
