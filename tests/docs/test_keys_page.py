"""docs/keys.md has every key of every configuration file, as the classes that read them declare it."""

import importlib.util
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "keys_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("keys_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run `python docs/keys_page.py`"


def test_every_key_is_explained(script):
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*?) ?\|$", script.page(), re.MULTILINE)
    assert len(rows) > 150
    assert [key for key, meaning in rows if not meaning] == []
