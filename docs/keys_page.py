"""Write docs/keys.md: every key of every configuration file, from the dataclasses that read them.

``python docs/keys_page.py``; a test fails while the page is not up to date.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dmg_bmi.coupling.config import ComponentConfig, CouplingConfig, ExchangeConfig
from dmg_bmi.forecast.config import ForecastConfig
from dmg_bmi.routing_bmi import RoutingConfig
from dmg_bmi.runtime.catchments import Catchments
from dmg_bmi.runtime.config import ComponentAssimilation, Ensemble, Pet, Restart, RunConfig
from dmg_bmi.training.benchmark import Protocol, Rival
from dmg_bmi.training.config import Basins, Model, Periods, Training, TrainingConfig
from dmg_bmi.training.readers.base import READERS, DataConfig, FileData

PAGE = Path(__file__).parent / "keys.md"
HEAD = """# Every key of every configuration

A configuration is a YAML file. `dmg-bmi configs` lists those that are shipped and copies one to begin with;
`--set section.key=value` changes a key of a training for one run. A key that does not exist is refused with
the closest one that does. Paths are relative to the file, those of a training to where the command runs.
This page is made from the classes that read the files.

"""
#: Command, title, and the classes of the file: first the whole, then its sections by their key.
FILES: tuple[tuple[str, str, dict[str, type]], ...] = (
    (
        "A component",
        "`dmg-bmi run`, `inspect`, `freeze`, and `initialize` of `DeltaModelBmi`",
        {
            "": RunConfig,
            "catchments": Catchments,
            "restart": Restart,
            "pet": Pet,
            "assimilation": ComponentAssimilation,
            "ensemble": Ensemble,
        },
    ),
    (
        "A river network",
        "`initialize` of `RoutingBmi`; beside the keys of every component",
        {"": RoutingConfig},
    ),
    (
        "A coupled run",
        "`dmg-bmi couple`",
        {
            "": CouplingConfig,
            "components.NAME": ComponentConfig,
            "exchanges[]": ExchangeConfig,
            "restart": Restart,
        },
    ),
    ("Forecasts", "`dmg-bmi forecast`", {"": ForecastConfig}),
    (
        "A training",
        "`dmg-bmi train` and `calibrate`",
        {
            "": TrainingConfig,
            "periods": Periods,
            "basins": Basins,
            "model": Model,
            "training": Training,
            "data": DataConfig,
            "data, of readers of files": FileData,
        },
    ),
    ("A benchmark", "`dmg-bmi benchmark`", {"": Protocol, "rivals.NAME": Rival}),
)


def page() -> str:
    """Compose the page."""
    parts = [HEAD]
    for title, command, sections in FILES:
        parts.append(f"## {title}\n\n{command}.\n\n")
        for section, cls in sections.items():
            parts.append(table(section, cls))
        if FileData in sections.values():
            for name, load in DataConfig.variants().items():
                if name in READERS:  # not those that other packages add here
                    parts.append(table(f"data, with reader: {name}", load()))
    return "".join(parts).rstrip() + "\n"


def table(section: str, cls: type) -> str:
    """Return the heading of a section and the table of its keys."""
    meanings = {name: text for base in reversed(cls.__mro__) for name, text in meanings_of(base).items()}
    hidden = inherited(cls)
    rows = [
        f"| `{f.name}` | {kind(cls, f)} | {default(f)} | {meanings.get(f.name, '')} |\n"
        for f in fields(cls)
        if f.init and f.name not in hidden
    ]
    heading = f"### `{section}`\n\n" if section else ""
    if not rows:
        return f"{heading}No further keys.\n\n"
    return f"{heading}| key | type | default | |\n| --- | --- | --- | --- |\n{''.join(rows)}\n"


def inherited(cls: type) -> set[str]:
    """Return the keys that stand in the table of a base."""
    of = RunConfig if cls is RoutingConfig else FileData if issubclass(cls, FileData) else DataConfig
    if cls is FileData:
        of = DataConfig
    if not issubclass(cls, of) or cls is of:
        return set()
    changed = {f.name for f in fields(cls) if f.name in get_annotations(cls)}
    return {f.name for f in fields(of)} - (changed - {"reader"})


def meanings_of(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of its parameters, in Markdown and on one line."""
    parameters = (cls.__doc__ or "").partition("----------\n")[2]
    parts = re.findall(
        r"^    (\w[\w, ]*?)(?: : .*)?\n((?:^ {8}.*\n|^\s*\n(?= {8}))*)", parameters, re.MULTILINE
    )
    return {name: markdown(text) for names, text in parts for name in names.split(", ")}


def markdown(text: str) -> str:
    """Return text of a docstring as the cell of a table."""
    text = " ".join(text.split()).replace("|", r"\|")
    text = re.sub(r":\w+:`~?\.?(?:dmg_bmi\.)?([^`]*)`", r"`\1`", text)
    return text.replace("``", "`")


def kind(cls: type, f: Field[Any]) -> str:
    """Return the type of a key in words of YAML."""
    return f"{words(get_type_hints(cls)[f.name])}".replace("|", r"\|")


def words(hint: Any) -> str:
    """Return a type in words of YAML."""
    simple = {"bool": "true or false", "int": "integer", "float": "number", "str": "text", "Path": "path"}
    simple |= {"datetime": "date", "Any": "anything", "NoneType": ""}
    name = getattr(hint, "__name__", str(hint))
    origin = getattr(getattr(hint, "__origin__", None), "__name__", "")
    arguments = get_args(hint)
    if origin in ("tuple", "list", "Sequence"):
        inner = [words(a) for a in arguments if a is not ...]
        return f"list of {inner[0]}" if ... in arguments or len(inner) == 1 else f"[{', '.join(inner)}]"
    if origin in ("dict", "Mapping"):
        return f"mapping of {words(arguments[0])} to {words(arguments[1])}"
    if name == "Literal" or str(hint).startswith("typing.Literal"):
        return ", ".join(f"`{a}`" for a in arguments)
    if arguments:
        return " or ".join(text for text in map(words, arguments) if text)
    if is_dataclass(hint):
        return "section"
    return simple.get(name, name)


def default(f: Field[Any]) -> str:
    """Return the default of a key as YAML writes it; of a section that it may be left out."""
    if f.default is MISSING and f.default_factory is MISSING:
        return "**required**"
    value = f.default_factory() if f.default_factory is not MISSING else f.default
    if value is None or value == "" or is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`"
    if hasattr(value, "strftime"):
        return f"`{value:%Y-%m-%d}`"
    return f"`{value}`" if value != {} else "`{}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
