"""Mistakes in a realization that make `ngen` crash, or compute something else than was meant.

`ngen` says nothing of most mistakes: a unit that does not convert is used as it is, a catchment that
the forcing lacks gets that of another. Here they are looked for before a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DmgBmiError, NextGenError, repeated
from ...findings import Findings
from ...io.atomic import recover
from ...io.cf_time import parse_date
from ...io.files import read_json
from ...io.ngen_forcing import CsvFolder, Forcing, open_forcing
from .context import STEP, CheckContext, DivideLayer, Period
from .module import examine
from .shape import require
from .wiring import check_wiring

#: What `ngen` reads of a time; of anything else it drops what follows, a zone too.
_STAMP = re.compile(r"\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{1,2}:\d{1,2}", re.ASCII)


def check(realization: Path, hydrofabric: Path, base: Path | None = None) -> Findings:
    """Examine a realization that runs this package.

    Parameters
    ----------
    realization : Path
    hydrofabric : Path
        The GeoPackage that `ngen` will be given.
    base : Path, optional
        The folder that `ngen` will run in, to which relative paths refer; by default the parent
        of the realization's folder ``config``, or its own folder.

    Raises
    ------
    NextGenError
        If a file cannot be read at all.
    """
    recover(realization.parent)  # from a preparation that was killed
    document = read_json(realization, NextGenError)
    require(document, str(realization))
    if base is None:
        folder = realization.parent
        base = folder.parent if folder.name == "config" else folder
    context = CheckContext(document, base, DivideLayer.read(hydrofabric), Findings())
    _check_structure(context)
    context.period = _time(context)
    _check_divides(context, hydrofabric)
    special = _forcing(context)
    for where, formulation, ids in _formulations(context):
        forcing = special.get(ids[0], context.forcing) if len(ids) == 1 else context.forcing
        _check_formulation(replace(context, forcing=forcing), where, formulation, ids)
    return context.findings


# -- the document -----------------------------------------------------------------


def _check_structure(context: CheckContext) -> None:
    error, warning = context.findings.error, context.findings.warning
    for layer in context.document.get("layers", ()):
        where = f"layers, id {layer.get('id')}"
        if layer.get("id") == 0:
            error(where, "layer 0 exists already and is added twice: ngen aborts; remove it")
        elif layer.get("time_step", STEP) != STEP:
            error(where, "a layer of another step gives its step to the surface layer; remove it")
        if layer.get("domain") == "catchments" or "formulations" in layer:
            error(where, "a formulation of a whole layer reaches no catchment and no nexus; remove it")
    output = context.document.get("output", {})
    if "output" in context.document and "output_root" in context.document and "root" not in output:
        error("output_root", "is ignored where there is an output block; write output.root too")
    grouped = output.get("catchment", {}).get("grouping") == "per_formulation"
    if len(context.divides.ids) >= 1000 and not grouped and output.get("catchment", {}).get("enable", True):
        warning(
            "output.catchment.grouping",
            f"{len(context.divides.ids)} files will be written; per_formulation writes one",
        )


def _time(context: CheckContext) -> Period | None:
    """Return start and end of the run; the end is that of its last step, which `ngen` includes."""
    time = context.document.get("time", {})
    ends = []
    for key in ("start_time", "end_time"):
        text, where = str(time.get(key, "")), f"time.{key}"
        if not _STAMP.fullmatch(text):
            context.findings.error(where, f"{text!r} must be written like 2015-12-01 00:00:00")
            return None
        try:
            ends.append(parse_date(text, where, NextGenError))
        except NextGenError as problem:
            context.findings.error(where, str(problem).removeprefix(f"{where}: "))
            return None
    if time.get("output_interval") != STEP:
        context.findings.error(
            "time.output_interval",
            f"{time.get('output_interval')}: modules are stepped by 3600 s all the same, and the last "
            "interval is cut; write 3600",
        )
    if ends[1] < ends[0]:
        context.findings.error("time.end_time", "is before start_time")
        return None
    return ends[0], ends[1] + np.timedelta64(STEP, "s")


def _check_divides(context: CheckContext, path: Path) -> None:
    error, table = context.findings.error, context.divides.properties
    areas = table.get("areasqkm", table.get("area_sqkm"))
    if areas is None:
        error(path, "divides have no column areasqkm, by which ngen turns depth into flow")
    else:
        bad = [
            i
            for i, a in zip(context.divides.ids, areas, strict=True)
            if not isinstance(a, float | int) or a <= 0
        ]
        if bad:
            error(path, "areasqkm is missing or not above 0, so there is no flow", bad)
    if twice := repeated(context.divides.ids):
        error(path, "divides appear twice", twice)
    lost = [i for i, t in zip(context.divides.ids, table.get("toid", ()), strict=False) if not t]
    if lost:
        error(path, "divides drain to nothing (toid is empty)", lost)


Where = tuple[str, Mapping[str, Any], tuple[str, ...]]


def _formulations(context: CheckContext) -> list[Where]:
    """Return formulations with the catchments that they are for."""
    blocks, divides = context.document.get("catchments", {}), set(context.divides.ids)
    unknown = [i for i in blocks if i not in divides]
    if unknown:
        context.findings.warning("catchments", "are not in the hydrofabric", unknown)
    formulations: list[Where] = []
    for name, block in blocks.items():
        if name in divides:
            if not block.get("formulations"):
                context.findings.error(f"catchments.{name}.formulations", "is missing")
            formulations += [(f"catchments.{name}", f, (name,)) for f in block.get("formulations", ())[:1]]
    rest = tuple(i for i in context.divides.ids if i not in blocks)
    shared = context.document.get("global", {}).get("formulations", ())
    if rest and not shared:
        context.findings.error("global.formulations", "is missing")
    return formulations + [("global", f, rest) for f in shared[:1] if rest]


def _forcing(context: CheckContext) -> dict[str, Forcing | None]:
    """Open the forcing of all catchments; return that of single ones whose blocks name another."""
    context.forcing = _open(context, "global.forcing", context.document.get("global", {}).get("forcing", {}))
    divides = {*context.divides.ids}
    blocks = {n: b for n, b in context.document.get("catchments", {}).items() if n in divides}
    bare = [name for name, block in blocks.items() if not block.get("forcing")]
    if bare:
        context.findings.error(
            "catchments", "a block without forcing: ngen takes none from global and aborts", bare
        )
    return {
        name: _open(context, f"catchments.{name}.forcing", block["forcing"], name)
        for name, block in blocks.items()
        if block.get("forcing")
    }


def _open(context: CheckContext, where: str, block: Any, catchment: str | None = None) -> Forcing | None:
    if not isinstance(block, Mapping):
        context.findings.error(where, "must have path and provider")
        return None
    provider = block.get("provider", "CsvPerFeature")
    # A block of one catchment needs a path even where nothing is read.
    null = provider == "NullForcingProvider"
    name = block.get("path")
    if not isinstance(name, str) and (catchment is not None or not null):
        context.findings.error(f"{where}.path", "is missing")
    if null or not isinstance(name, str):
        return None
    path = context.base / name
    try:
        forcing = open_forcing(path, catchment)
    except DmgBmiError as problem:
        context.findings.error(where, str(problem))
        return None
    suitable = "CsvPerFeature" if isinstance(forcing, CsvFolder) else "NetCDF"
    if provider != suitable:
        context.findings.error(f"{where}.provider", f"{provider} does not read {path}; write {suitable}")
    if isinstance(forcing, CsvFolder):
        ids = context.divides.ids if catchment is None else (catchment,)
        _check_pattern(context, where, block.get("file_pattern"), forcing, ids)
    return forcing


def _check_pattern(
    context: CheckContext, where: str, pattern: Any, forcing: CsvFolder, ids: tuple[str, ...]
) -> None:
    """Check that `ngen` takes the same file for each catchment as is examined here."""
    error, where = context.findings.error, f"{where}.file_pattern"
    if not forcing.path.is_dir():
        if pattern is not None:
            error(where, f"{forcing.path} is a file: ngen looks for files that match in a folder; remove it")
        return
    if not isinstance(pattern, str):
        error(where, f"is missing: {forcing.path} is a folder, and ngen would read it as a file")
        return
    names = sorted(entry.name for entry in forcing.path.iterdir())
    position = {file: k for k, file in enumerate(names)}
    mismatched = []
    for name in (i for i in ids if i in forcing.files):
        try:
            regex = re.compile(pattern.replace("{{id}}", name, 1))
        except re.error as problem:
            error(where, f"{pattern!r} is not a regular expression: {problem}")
            return
        examined = forcing.files[name].name
        # Names that begin alike, such as those of cat-1 and cat-11, are next to each other.
        around = names[max(position[examined] - 1, 0) : position[examined] + 2]
        if [n for n in around if regex.fullmatch(n)] != [examined]:
            mismatched.append(name)
    if mismatched:
        error(where, f"{pattern!r} matches no file, another one or several; ngen takes any", mismatched)


def _check_formulation(
    context: CheckContext,
    where: str,
    formulation: Mapping[str, Any],
    ids: tuple[str, ...],
) -> None:
    params = formulation.get("params", {})
    nested = formulation.get("name") == "bmi_multi"
    modules = params.get("modules", ()) if nested else (formulation,)
    if nested and "mass_balance" in params:
        context.findings.error(
            f"{where}.mass_balance", "is ignored at the level of bmi_multi; move it into the module's params"
        )
    examined = []
    for k, module in enumerate(modules):
        at = f"{where}.modules[{k}]" if nested else where
        examined.append(examine(context, at, module.get("params", {}), ids))
    if not any(module.component for module in examined):
        context.findings.warning(where, "runs nothing of this package, or it could not be initialized")
        return
    check_wiring(context, where, params, examined, nested, ids)
