"""The pages of the process models say what their declarations say."""

import importlib.util
from pathlib import Path

import pytest

from dmg_bmi.model.registry import PROCESS_MODELS, build_process_model

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "model_pages.py"


@pytest.fixture(scope="module")
def written():
    spec = importlib.util.spec_from_file_location("model_pages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_every_page_is_up_to_date(written):
    stale = [
        path.name for path, text in written.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    assert not stale, f"run `python docs/model_pages.py` to renew {', '.join(stale)}"


@pytest.mark.parametrize("name", sorted(PROCESS_MODELS))
def test_every_page_names_all_that_is_declared(written, name):
    (text,) = (text for path, text in written.items() if path.stem == name)
    declared = build_process_model({"name": name}).declaration
    groups = (declared.forcings, declared.attributes, declared.parameters, declared.states, declared.fluxes)
    assert all(f"`{item.name}`" in text for group in groups for item in group)
