"""Show the content of a bundle or a configuration: variables, units, parameters, states."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .options import WHAT

if TYPE_CHECKING:
    from ..model.bundle import BundleInfo
    from ..model.delta_model import DeltaModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi inspect``."""
    parser.add_argument("what", help=WHAT)


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi inspect``."""
    print(describe(arguments.what))


def describe(what: str) -> str:
    """Describe a bundle or configuration as text."""
    from ..model.bundle import BundleInfo
    from ..runtime.config import find

    path = find(what)
    return _bundle(BundleInfo.read(path)) if path.is_dir() else _config(path)


def _config(path: Path) -> str:
    from ..errors import ConfigError
    from ..model.bundle import BundleInfo
    from ..routing_bmi import RoutingConfig
    from ..runtime.catchments import CatchmentTable

    config = RoutingConfig.read(path)  # has the keys of every component
    if not config.bundle:
        raise ConfigError(f"{path}: missing key 'bundle'; give a folder or a shipped bundle's name")
    info = BundleInfo.read(config.bundle)
    names = [v.name for v in info.variables if v.kind == "attribute"]
    catchments = CatchmentTable.load(config.catchments, names)
    ids = ", ".join(catchments.ids[:5]) + (", ..." if len(catchments.ids) > 5 else "")
    start = config.start_time.isoformat() if config.start_time else "not given"
    step = config.time_step or float(info.description["step"])
    lines = [
        f"configuration {path}",
        f"  catchments   {len(catchments.ids)}: {ids}",
        f"  start_time   {start}",
        f"  time_step    {step:g} s",
        f"  forcing      {config.forcing or 'set by the framework, step by step'}",
    ]
    return "\n".join(lines) + "\n\n" + _bundle(info)


def _bundle(info: BundleInfo) -> str:
    info, model = info.load()
    parts = [_head(info, model)]
    for kind, title in (
        ("input", "Inputs"),
        ("output", "Outputs"),
        ("attribute", "Static attributes (by name)"),
        ("state", "States (by name)"),
    ):
        rows = [
            (v.symbol, v.name if v.published else "", v.units, v.meaning)
            for v in info.variables
            if v.kind == kind
        ]
        if rows:
            parts.append(table(title, ("symbol", "name", "units", "meaning"), rows))
    return "\n\n".join([*parts, *_parameters(model)])


def _head(info: BundleInfo, model: DeltaModel) -> str:
    weights = sum(p.numel() for p in model.parameters())
    return "\n".join(
        [
            f"bundle {info.name}: {info.summary}".rstrip(": "),
            f"  folder       {info.path}",
            f"  fingerprint  {info.fingerprint}",
            f"  step         {model.step:g} s",
            f"  weights      {weights:,}",
            *_learned(info),
            *(
                f"  network      {r.network}: {r.kind}, sees {', '.join(r.inputs + r.attributes)}"
                for r in model.roles
            ),
            *(
                f"  {key:<12} {value}"
                for key, value in info.provenance.items()
                if not isinstance(value, dict)
            ),
        ]
    )


def _learned(info: BundleInfo) -> list[str]:
    if info.learned_error is None:
        return []
    leads, basins = info.learned_error.get("leads"), info.learned_error.get("basins")
    count = len(basins) if isinstance(basins, list) else 0
    return [f"  learned error  {leads} steps ahead, of {count} basins"]


def _parameters(model: DeltaModel) -> Iterable[str]:
    """Yield a table of parameters for each process model."""
    from ..model.roles import ParameterRole

    role_of = {
        (role.model, name): f"{'dynamic' if name in role.dynamic else 'static'}, {role.network}"
        for role in model.roles
        if isinstance(role, ParameterRole)
        for name in role.supplied
    }
    for key, process in model.process_models.items():
        rows = [
            (
                p.name,
                f"{p.lower:g} .. {p.upper:g}",
                p.units,
                role_of.get((key, p.name)) or f"fixed {model.fixed.get(p.name, '')}",
                p.meaning,
            )
            for p in process.declaration.parameters
        ]
        title = f"Parameters of {process.declaration.name}"
        yield table(title, ("symbol", "bounds", "units", "supplied", "meaning"), rows)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text table with aligned columns."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join([title, *(f"  {line}" for line in text)])
