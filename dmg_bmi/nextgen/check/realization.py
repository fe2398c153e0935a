"""What in a realization makes `ngen` crash, or compute something else than was meant.

`ngen` passes most mistakes over: a unit that does not convert is used as it is, a catchment that
the forcing lacks gets another's. Here they are looked for before a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DmgBmiError, NextGenError
from ...io.cf_time import parse_date
from ...io.files import read_json
from ...io.ngen_forcing import CsvFolder, Forcing, open_forcing
from .context import STEP, CheckContext, Divides, Period
from .findings import Findings
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
        The folder that `ngen` will run in, to which relative paths refer; by default that in
        which the realization's folder ``config`` stands, or its own folder.

    Raises
    ------
    NextGenError
        If a file cannot be read at all.
    """
    document = read_json(realization, NextGenError)
    require(document, str(realization))
    if base is None:
        folder = realization.parent
        base = folder.parent if folder.name == "config" else folder
    case = CheckContext(document, base, Divides.read(hydrofabric), Findings())
    _structure(case)
    case.period = _time(case)
    _divides(case, hydrofabric)
    own = _forcing(case)
    for where, formulation, ids in _formulations(case):
        given = own.get(ids[0], case.forcing) if len(ids) == 1 else case.forcing
        _formulation(replace(case, forcing=given), where, formulation, ids)
    return case.findings


# -- the document -----------------------------------------------------------------


def _structure(case: CheckContext) -> None:
    stop, note = case.findings.stop, case.findings.note
    for layer in case.document.get("layers", ()):
        where = f"layers, id {layer.get('id')}"
        if layer.get("id") == 0:
            stop(where, "layer 0 is there already and is added twice: ngen aborts; remove it")
        elif layer.get("time_step", STEP) != STEP:
            stop(where, "a layer of another step gives its step to the surface layer; remove it")
        if layer.get("domain") == "catchments" or "formulations" in layer:
            stop(where, "a formulation of a whole layer reaches no catchment and no nexus; remove it")
    output = case.document.get("output", {})
    if "output" in case.document and "output_root" in case.document and "root" not in output:
        stop("output_root", "is ignored where there is an output block; write output.root too")
    grouped = output.get("catchment", {}).get("grouping") == "per_formulation"
    if len(case.divides.ids) >= 1000 and not grouped and output.get("catchment", {}).get("enable", True):
        note(
            "output.catchment.grouping",
            f"{len(case.divides.ids)} files will be written; per_formulation writes one",
        )


def _time(case: CheckContext) -> Period | None:
    """Begin and end of the run; the end is that of its last step, which `ngen` includes."""
    given = case.document.get("time", {})
    ends = []
    for key in ("start_time", "end_time"):
        text, where = str(given.get(key, "")), f"time.{key}"
        if not _STAMP.fullmatch(text):
            case.findings.stop(where, f"{text!r} must be written like 2015-12-01 00:00:00")
            return None
        try:
            ends.append(parse_date(text, where, NextGenError))
        except NextGenError as problem:
            case.findings.stop(where, str(problem).removeprefix(f"{where}: "))
            return None
    if given.get("output_interval") != STEP:
        case.findings.stop(
            "time.output_interval",
            f"{given.get('output_interval')}: modules are stepped by 3600 s all the same, and the last "
            "interval is cut; write 3600",
        )
    if ends[1] < ends[0]:
        case.findings.stop("time.end_time", "lies before start_time")
        return None
    return ends[0], ends[1] + np.timedelta64(STEP, "s")


def _divides(case: CheckContext, path: Path) -> None:
    stop, table = case.findings.stop, case.divides.properties
    areas = table.get("areasqkm", table.get("area_sqkm"))
    if areas is None:
        stop(path, "divides have no column areasqkm, by which ngen turns depth into flow")
    else:
        bad = [
            i
            for i, a in zip(case.divides.ids, areas, strict=True)
            if not isinstance(a, float | int) or a <= 0
        ]
        if bad:
            stop(path, "areasqkm is missing or not above 0, so there is no flow", bad)
    if len(set(case.divides.ids)) != len(case.divides.ids):
        seen: set[str] = set()
        twice = [i for i in case.divides.ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
        stop(path, "divides stand twice", twice)
    lost = [i for i, t in zip(case.divides.ids, table.get("toid", ()), strict=False) if not t]
    if lost:
        stop(path, "divides drain to nothing (toid is empty)", lost)


Where = tuple[str, Mapping[str, Any], tuple[str, ...]]


def _formulations(case: CheckContext) -> list[Where]:
    """Formulations with the catchments that they are for."""
    own, known = case.document.get("catchments", {}), set(case.divides.ids)
    unknown = [i for i in own if i not in known]
    if unknown:
        case.findings.note("catchments", "are not in the hydrofabric", unknown)
    found: list[Where] = []
    for name, block in own.items():
        if name in known:
            if not block.get("formulations"):
                case.findings.stop(f"catchments.{name}.formulations", "is missing")
            found += [(f"catchments.{name}", f, (name,)) for f in block.get("formulations", ())[:1]]
    rest = tuple(i for i in case.divides.ids if i not in own)
    given = case.document.get("global", {}).get("formulations", ())
    if rest and not given:
        case.findings.stop("global.formulations", "is missing")
    return found + [("global", f, rest) for f in given[:1] if rest]


def _forcing(case: CheckContext) -> dict[str, Forcing | None]:
    """Open the forcing of all catchments; return those that blocks of single ones name for themselves."""
    given = case.document.get("global", {}).get("forcing", {})
    case.forcing = _opened(case, "global.forcing", given)
    known = {*case.divides.ids}
    blocks = {n: b for n, b in case.document.get("catchments", {}).items() if n in known}
    bare = [name for name, block in blocks.items() if not block.get("forcing")]
    if bare:
        case.findings.stop(
            "catchments", "a block without forcing: ngen takes none from global and aborts", bare
        )
    return {
        name: _opened(case, f"catchments.{name}.forcing", block["forcing"], name)
        for name, block in blocks.items()
        if block.get("forcing")
    }


def _opened(case: CheckContext, where: str, given: Any, catchment: str | None = None) -> Forcing | None:
    if not isinstance(given, Mapping):
        case.findings.stop(where, "must hold path and provider")
        return None
    provider = given.get("provider", "CsvPerFeature")
    # A block of one catchment needs a path even where nothing is read.
    null = provider == "NullForcingProvider"
    if not isinstance(given.get("path"), str) and (catchment is not None or not null):
        case.findings.stop(f"{where}.path", "is missing")
        return None
    if null:
        return None
    path = case.base / given["path"]
    try:
        forcing = open_forcing(path, catchment)
    except DmgBmiError as problem:
        case.findings.stop(where, str(problem))
        return None
    wanted = "CsvPerFeature" if isinstance(forcing, CsvFolder) else "NetCDF"
    if provider != wanted:
        case.findings.stop(f"{where}.provider", f"{provider} does not read {path}; write {wanted}")
    if isinstance(forcing, CsvFolder):
        ids = case.divides.ids if catchment is None else (catchment,)
        _check_pattern(case, where, given.get("file_pattern"), forcing, ids)
    return forcing


def _check_pattern(
    case: CheckContext, where: str, pattern: Any, forcing: CsvFolder, ids: tuple[str, ...]
) -> None:
    """Whether `ngen` takes the same file for each catchment as is examined here."""
    stop, where = case.findings.stop, f"{where}.file_pattern"
    if not forcing.path.is_dir():
        if pattern is not None:
            stop(where, f"{forcing.path} is a file: ngen looks for files that match in a folder; remove it")
        return
    if not isinstance(pattern, str):
        stop(where, f"is missing: {forcing.path} is a folder, and ngen would read it as a file")
        return
    names = sorted(entry.name for entry in forcing.path.iterdir())
    place = {file: k for k, file in enumerate(names)}
    other = []
    for name in (i for i in ids if i in forcing.files):
        try:
            wanted = re.compile(pattern.replace("{{id}}", name, 1))
        except re.error as problem:
            stop(where, f"{pattern!r} is no regular expression: {problem}")
            return
        own = forcing.files[name].name
        # Names that begin alike, such as those of cat-1 and cat-11, are next to each other.
        around = names[max(place[own] - 1, 0) : place[own] + 2]
        if [n for n in around if wanted.fullmatch(n)] != [own]:
            other.append(name)
    if other:
        stop(where, f"{pattern!r} matches no file, another one or several; ngen takes any", other)


def _formulation(
    case: CheckContext,
    where: str,
    formulation: Mapping[str, Any],
    ids: tuple[str, ...],
) -> None:
    params = formulation.get("params", {})
    nested = formulation.get("name") == "bmi_multi"
    modules = params.get("modules", ()) if nested else (formulation,)
    if nested and "mass_balance" in params:
        case.findings.stop(
            f"{where}.mass_balance", "is ignored at the level of bmi_multi; move it into the module's params"
        )
    examined = []
    for k, one in enumerate(modules):
        at = f"{where}.modules[{k}]" if nested else where
        examined.append(examine(case, at, one.get("params", {}), ids))
    if not any(module.component for module in examined):
        case.findings.note(where, "runs nothing of this package, or it could not be initialized")
        return
    check_wiring(case, where, params, examined, nested, ids)
