"""Prepare and check a run of NOAA's NextGen framework (`ngen`) with a bundle.

`prepare` writes what a run needs from a hydrofabric GeoPackage, a bundle and attributes by divide:
the configuration of each catchment, the realization, the configuration of t-route and, if asked
for, stored forcing; then it checks all of it. `check` examines a realization for what makes `ngen`
crash or silently compute something else than was meant.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from ..errors import NextGenError
from .lazy_parser import LazyParser

if TYPE_CHECKING:
    import numpy as np

    from ..nextgen.prepare.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi nextgen``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=LazyParser)
    prepare = actions.add_parser(
        "prepare", help="write everything that a run needs, and check it", fill=add_plan
    )
    prepare.set_defaults(act=_prepare)

    examine = actions.add_parser("check", help="examine a realization before it runs")
    examine.add_argument("realization", type=Path, help="JSON file that ngen will be given")
    examine.add_argument("--hydrofabric", type=Path, required=True, help="GeoPackage that ngen will be given")
    examine.add_argument("--folder", type=Path, help="where ngen will run (default: above config/)")
    examine.set_defaults(act=_check)


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of a :class:`~dmg_bmi.nextgen.prepare.plan.Plan`, in its words.

    ``--ngiab`` alone is another: it takes a run folder, which gives `output` and more.
    """
    from ..nextgen.prepare.plan import Plan

    meanings, hints = _meanings(Plan), get_type_hints(Plan)
    for field in fields(Plan):
        if field.name == "ngiab":
            parser.add_argument(
                "--ngiab",
                type=Path,
                metavar="FOLDER",
                help="run folder of NextGen In A Box, in place of --output, with its hydrofabric, forcing "
                "and period",
            )
        elif field.name == "bundle":
            parser.add_argument(field.name, help=meanings[field.name])
        else:
            _add_option(parser, field, hints[field.name], meanings[field.name])


def _add_option(parser: argparse.ArgumentParser, field: Field[Any], hint: Any, meaning: str) -> None:
    """Add the option of one field: type, choices and default are those of the field."""
    option = f"--{field.name.replace('_', '-')}"
    inner = next((a for a in get_args(hint) if type(None) in get_args(hint) and a is not type(None)), hint)
    if inner is bool:
        if field.default:
            option, meaning = f"--no-{option[2:]}", f"do not {meaning}"
        parser.add_argument(
            option, dest=field.name, action="store_const", const=not field.default, help=meaning
        )
        return
    if isinstance(field.default, str | float):
        meaning = f"{meaning} (default: {field.default})"
    details: dict[str, Any] = {"help": meaning}
    if get_origin(inner) is Literal:
        details["choices"] = get_args(inner)
    elif inner in (Path, float):
        details |= {"type": inner, "metavar": "PATH" if inner is Path else "HOURS"}
    elif get_origin(inner) is Mapping and get_args(inner)[1] is str:
        details |= {"action": "extend", "nargs": "+", "metavar": "NAME=COLUMN"}
    elif get_origin(inner) is Mapping:
        details |= {"type": Path, "metavar": "FILE"}
    elif field.default is MISSING:
        details["metavar"] = "TIME"
    else:
        details |= {"nargs": "+", "metavar": "NAME"}
    parser.add_argument(option, dest=field.name, **details)


def _meanings(cls: type) -> dict[str, str]:
    """Return what the docstring of a class says of its parameters, each in one line."""
    parameters = (cls.__doc__ or "").partition("----------\n")[2]
    parts = re.findall(r"^    (\w+) : .*\n((?:^ {8}.*\n)+)", parameters, re.MULTILINE)
    return {name: _as_help(text) for name, text in parts}


def _as_help(text: str) -> str:
    """Return a sentence of a docstring in the style of argparse's own help."""
    first, *rest = text.replace("`", "").replace("%", "%%").rstrip().removesuffix(".").split()
    return " ".join([first.lower() if first[1:].islower() else first, *rest])


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi nextgen``."""
    arguments.act(arguments)


def _prepare(arguments: argparse.Namespace) -> None:
    from ..nextgen.prepare.prepare import prepare

    plan = read_plan(arguments)
    prepared = prepare(plan)
    for finding in prepared.findings:
        print(finding)
    print(f"{prepared.catchments} catchments are ready. In {plan.output} run")
    realization, fabric = (
        path.relative_to(plan.output) for path in (prepared.realization, prepared.hydrofabric)
    )
    print(f"  ngen {fabric} all {fabric} all {realization}")


def read_plan(arguments: argparse.Namespace) -> Plan:
    """Return the plan that options describe, completed by those of a run folder.

    Raises
    ------
    NextGenError
        Naming the option that is missing or wrong.
    """
    from ..nextgen.prepare import ngiab
    from ..nextgen.prepare.plan import Plan

    if (arguments.ngiab is None) == (arguments.output is None):
        raise NextGenError("give --output for a new folder, or --ngiab for one of NextGen In A Box")
    folder = ngiab.RunFolder(arguments.output) if arguments.ngiab is None else ngiab.read(arguments.ngiab)
    options = {f.name: getattr(arguments, f.name) for f in fields(Plan)}
    options |= {
        "output": folder.path,
        "hydrofabric": _require(arguments.hydrofabric or folder.hydrofabric, "--hydrofabric"),
        "start": _time(arguments.start, folder.start, "--start"),
        "end": _time(arguments.end, folder.end, "--end"),
        "forcing": arguments.forcing or folder.forcing,
        "columns": dict(_pair(text) for text in arguments.columns or ()),
        "model_params": _params(arguments.model_params),
        "ngiab": arguments.ngiab is not None,
    }
    return Plan(**{name: value for name, value in options.items() if value is not None})


def _check(arguments: argparse.Namespace) -> None:
    from ..nextgen.check.realization import check

    findings = check(arguments.realization, arguments.hydrofabric, arguments.folder)
    for finding in findings:
        print(finding)
    if findings.errors:
        raise NextGenError(f"errors found: {len(findings.errors)}; correct them before a run")
    print(f"{arguments.realization}: nothing found that would keep it from running as meant")


def _require(value: Path | None, option: str) -> Path:
    if value is None:
        raise NextGenError(f"give {option}")
    return value


def _time(text: str | None, default: np.datetime64 | None, option: str) -> np.datetime64:
    from ..io.cf_time import parse_date

    if text is None:
        if default is None:
            raise NextGenError(f"give {option}, such as 2015-12-01")
        return default
    return parse_date(text, option, NextGenError)


def _pair(text: str) -> tuple[str, str]:
    name, equals, column = text.partition("=")
    if not (name and equals and column):
        raise NextGenError(f"--columns: {text!r} is not NAME=COLUMN")
    return name, column


def _params(path: Path | None) -> dict[str, Any]:
    from ..io.files import read_json

    if path is None:
        return {}
    content = read_json(path, NextGenError)
    if not isinstance(content, dict):
        raise NextGenError(f"{path}: must be a JSON object of names and values")
    return content
