"""docs/errors.md lists the whole family, with messages as they are raised now."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "error_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("error_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_has_an_example(script):
    names = [kind.__name__ for kind in script.family()]
    assert names == [*script.EXAMPLES], "add an example to docs/error_page.py"
    assert all(kind.__doc__ for kind in script.family())


def test_the_page_is_up_to_date(script):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run `python docs/error_page.py`"


def test_every_error_is_of_a_kind_that_python_knows(script):
    """So that a framework's own `except ValueError` or `except KeyError` holds."""
    own = (ValueError, KeyError, RuntimeError, NotImplementedError, OSError, ArithmeticError)
    assert all(issubclass(kind, own) for kind in script.family())
