"""docs/stability.md promises what there is."""

import re
from importlib import import_module
from pathlib import Path

import dmg_bmi
from dmg_bmi.model import bundle
from dmg_bmi.runtime import ngen_protocols, state_codec
from dmg_bmi.training import checkpoint

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")


def row(first: str) -> str:
    """Return the second cell of the row whose first cell begins so."""
    return re.search(rf"^\| {re.escape(first)}[^|]*\| ([^|]*) \|", PAGE, re.MULTILINE)[1]


def test_every_public_name_is_listed_and_every_listed_name_exists():
    assert set(re.findall(r"`(\w+)`", row("`dmg_bmi` "))) == set(dmg_bmi.__all__) - {"__version__"}
    for module in ("dmg_bmi.model.roles", "dmg_bmi.physics", "dmg_bmi.nn_models", "dmg_bmi.training"):
        names = set(re.findall(r"`(\w+)`", row(f"`{module}`"))) - {"__all__"}
        assert names <= {*vars(import_module(module))}, module


def test_versions_of_files_are_those_of_the_code():
    assert row("bundle") == f"format {bundle.FORMAT}"
    assert row("state file") == f"version {state_codec.VERSION}"
    assert row("training checkpoint") == f"format {checkpoint.FORMAT}"


def test_reserved_names_and_entry_points_are_those_of_the_code():
    assert set(re.findall(r"`(ngen::mass_\w+)`", PAGE)) == set(ngen_protocols.MASS)
    groups = re.findall(r'`("dmg_bmi\.\w+")`', PAGE)
    code = "".join(f.read_text(encoding="utf-8") for f in (ROOT / "dmg_bmi").rglob("*.py"))
    assert groups
    assert all(group in code for group in groups)
