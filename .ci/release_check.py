"""Refuse a release whose tag, version, CITATION.cff, recipe and changelog do not say the same.

``python .ci/release_check.py v1.2.3``; without a tag the files are compared with each other.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where each file says the version.
SAID = {
    "dmg_bmi/__init__.py": r'^__version__ = "(.+)"',
    "CITATION.cff": r"^version: (\S+)",
    "recipe/recipe.yaml": r'^  version: "(.+)"',
    "CHANGELOG.md": r"^## (\S+)",
}


def versions() -> dict[str, str]:
    """Return the version that each file says."""
    found = {}
    for name, pattern in SAID.items():
        match = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        found[name] = match.group(1) if match else "none"
    return found


def main() -> None:
    """Compare."""
    found = versions()
    if len(sys.argv) > 1:
        found["the tag"] = sys.argv[1].removeprefix("v")
        if "(unreleased)" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()[2]:
            raise SystemExit("CHANGELOG.md: give the version its date in the place of (unreleased)")
    if len({*found.values()}) > 1:
        raise SystemExit("versions differ: " + ", ".join(f"{name} {said}" for name, said in found.items()))
    print("version", next(iter(found.values())))


if __name__ == "__main__":
    main()
