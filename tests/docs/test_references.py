"""Names that docstrings and pages refer to exist, and links lead somewhere."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = sorted((ROOT / "dmg_bmi").rglob("*.py"))
CODE += [file for folder in ("physics", "nn_models") for file in sorted((ROOT / folder).rglob("*.py"))]


def exists(name):
    """Whether a dotted name is a module, or what stands in one."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        except ImportError:
            return True  # needs what is not installed here
        for part in parts[k:]:
            if part in getattr(found, "__dataclass_fields__", {}):
                return True
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_docstring_refers_to_exists(file):
    package = "dmg_bmi." * (file.relative_to(ROOT).parts[0] in ("physics", "nn_models"))
    package += ".".join(file.relative_to(ROOT).parent.parts)
    for name in re.findall(r":(?:mod|class|func|meth|data|attr):`~?([\w.]+)`", file.read_text("utf-8")):
        if name.startswith("."):
            assert exists(package + name), name
        elif name.startswith("dmg_bmi."):
            assert exists(name), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_refers_to_exists(page):
    text = page.read_text("utf-8")
    for name in re.findall(r"`(dmg_bmi(?:\.\w+)+)", text):
        assert exists(name), name
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (page.parent / link).exists(), link
    for path in re.findall(
        r"(?:^|[`\s])((?:dmg_bmi|physics|nn_models|benchmarks|docs|tests)/[\w./]+\w)", text
    ):
        assert (ROOT / path).exists(), path
