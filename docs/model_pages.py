"""Write a page per registered process model into docs/models, from its declaration and docstring.

``python docs/model_pages.py``; a test fails while a page is not up to date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from dmg_bmi.physics import ProcessModel

from dmg_bmi.model.registry import PROCESS_MODELS, build_process_model

FOLDER = Path(__file__).parent / "models"


def pages() -> dict[Path, str]:
    """Every page by its path."""
    models = {name: build_process_model({"name": name}) for name in sorted(PROCESS_MODELS)}
    written = {FOLDER / f"{name}.md": page(name, model) for name, model in models.items()}
    return {FOLDER / "README.md": index(models), **written}


def index(models: dict[str, ProcessModel]) -> str:
    """Compose the table of contents."""
    rows = [
        (
            f"[`{name}`]({name}.md)",
            _docstring(model).splitlines()[0],
            ", ".join(f"`{f.name}`" for f in model.declaration.forcings),
            len(model.declaration.parameters),
        )
        for name, model in models.items()
    ]
    table = _table(("name", "model", "forcings", "parameters"), rows)
    return f"# Process models\n\n{table}\nTo add another: [add your own model](add_your_own.md).\n"


def page(name: str, model: ProcessModel) -> str:
    """All that is declared about one model."""
    declared = model.declaration
    parts = [f"# {name}", _docstring(model)]
    quantities = (
        ("Forcings", declared.forcings),
        ("Attributes", declared.attributes),
        ("Fluxes", declared.fluxes),
    )
    sections = {
        title: _table(
            ("name", "units", "meaning", "joins by", "standard name"),
            [(f"`{q.name}`", q.units, q.meaning, q.aggregation, q.standard_name) for q in items],
        )
        for title, items in quantities
        if items
    }
    if declared.parameters:
        sections["Parameters"] = _table(
            ("name", "from", "to", "units", "meaning", "source"),
            [(f"`{p.name}`", p.lower, p.upper, p.units, p.meaning, p.source) for p in declared.parameters],
        )
    if declared.states:
        sections["States"] = _table(
            ("name", "units", "meaning", "shape"),
            [(f"`{s.name}`", s.units, s.meaning, " x ".join(map(str, s.shape))) for s in declared.states],
        )
    if declared.balances:
        sections["Conserved"] = "".join(
            f"- {b.quantity} ({b.units}): "
            f"{_sum(b.into + b.exchange)} = {_sum(b.out)} + change of {_sum(b.stored)}\n"
            for b in declared.balances
        )
    if declared.processes:
        sections["What a network may replace"] = "".join(
            f"- `{flux}`, shown {', '.join(f'`{name}`' for name in shown)}\n"
            for flux, shown in declared.processes.items()
        )
    sections["Sources"] = "".join(f"- {source}\n" for source in declared.source.split("; "))
    parts += [f"## {title}\n\n{text.rstrip()}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _docstring(model: ProcessModel) -> str:
    return inspect.cleandoc(type(model).__doc__ or "")


def _sum(names: Iterable[str]) -> str:
    return " + ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
