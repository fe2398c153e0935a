"""Everything that `ngen` needs to run a bundle over a hydrofabric."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...arrays import BoolArray
from ...errors import BundleError, NextGenError, WriteError
from ...findings import Finding, Findings, listed
from ...hydrofabric import reader as hydrofabric
from ...hydrofabric.reader import Hydrofabric
from ...io.atomic import create, locked, make_folder, recover, refuse_foreign, write_atomic
from ...io.files import opened, require_file_name
from ...io.journal import exchange
from ...io.ngen_forcing import Forcing, open_forcing
from ...model.bundle import BundleInfo
from ...model.bundle_files import SHIPPED, find, is_weights
from ...model.variables import RUNOFF, Variable
from ...physics.forcings import PET
from ...progress import progress
from ...runtime.config import Pet
from ...runtime.forcing.pet_from_weather import METHODS, make_forcing_inputs
from ...runtime.restart import TIME
from ..check.realization import check
from . import attributes, realization, troute
from .plan import Plan
from .stored_forcing import STORE, write_store
from .tables import read as read_table

STEP = 3600.0
MODEL = "DMG_BMI"
REALIZATION, SHARED = "realization.json", "shared.yaml"
BUNDLE = "bundle"
#: Beginning of the file of one catchment, by which those of an earlier preparation are recognised.
CATCHMENT_HEAD = f"shared: {SHARED}\ncatchment: "
#: Where states are saved, as seen from the shared configuration.
STATES = "../../../outputs/states/{time}/{id}.state"
#: A file of one catchment: no digit behind its id, so that cat-1 is not cat-11.
FILE_PATTERN = ".*{{id}}[^0-9].*"
NOT_AS_MEANT = "this would not run as meant:"
#: Columns of the table of catchments that PET may need, beside the bundle's attributes.
PLACE = {
    "latitude": Variable("latitude", "latitude", "attribute", "degree_north", "degree_north", "latitude"),
    "elevation": Variable("elevation", "elevation", "attribute", "m", "m", "mean elevation"),
}


@dataclass(frozen=True, eq=False)
class Catchments:
    """Divides of a hydrofabric that take part in a run.

    Parameters
    ----------
    fabric : Hydrofabric
    keep : ndarray of bool
        Which of its divides they are.
    ids : sequence of str
    columns : dict of name to ndarray
        Attributes, in the order of `ids`.
    """

    fabric: Hydrofabric
    keep: BoolArray
    ids: Sequence[str]
    columns: attributes.Columns


@dataclass(frozen=True)
class Prepared:
    """A preparation that succeeded.

    Parameters
    ----------
    realization, hydrofabric : Path
        Arguments of `ngen`.
    catchments : int
    findings : Findings
        Warnings; errors have been raised.
    """

    realization: Path
    hydrofabric: Path
    catchments: int
    findings: Findings


def prepare(plan: Plan) -> Prepared:
    """Write configurations, realization and what routing needs, and check them.

    Raises
    ------
    NextGenError
        With all that would not run as meant.
    """
    recover(plan.output / "config")  # from a preparation that was killed
    info = BundleInfo.read(plan.bundle)
    fabric = hydrofabric.read(plan.hydrofabric)
    findings = Findings(_for_ngen(finding, plan.routing) for finding in fabric.findings)
    inputs = make_forcing_inputs(
        [v for v in info.variables if v.kind == "input"],
        STEP,
        float(info.description["step"]),
        None if plan.pet is None else Pet(plan.pet),
    )
    required = _required_attributes(info, plan.pet)
    table = None if plan.table is None else read_table(plan.table)
    columns = attributes.gather(required, fabric, table, plan.columns)
    keep = attributes.complete(columns, required, fabric, plan.missing_attributes, findings)
    ids = [name for name, kept in zip(fabric.divides.ids, keep.tolist(), strict=True) if kept]
    columns = {name: values[keep] for name, values in columns.items()}
    attributes.compare(columns, info.statistics, ids, findings)
    findings.raise_errors(NextGenError, NOT_AS_MEANT)
    if not ids:
        raise NextGenError(f"{fabric.path}: no divide has all attributes that {info.name} requires")
    for name in ids:
        require_file_name(name, f"{fabric.path}: divide", NextGenError)
    if plan.restart:
        _require_states(plan, ids)

    catchments = Catchments(fabric, keep, ids, columns)
    path, geopackage = _write(plan, info, catchments, inputs.variables)
    findings += check(path, geopackage, plan.output)
    findings.raise_errors(NextGenError, NOT_AS_MEANT)
    return Prepared(path, geopackage, len(ids), findings)


def _for_ngen(finding: Finding, routing: bool) -> Finding:
    """Judge a finding about a network by what the run does: without routing most are harmless."""
    if finding.level == "warning":
        return finding
    if finding.kind == "duplicate":
        return replace(finding, message=f"{finding.message}; keep one of each")
    # t-route takes a bed without slope.
    if routing and finding.kind != "zero slope":
        remedy = "correct it, or prepare without routing (--no-routing)"
        return replace(finding, message=f"{finding.message}; {remedy}")
    return replace(finding, level="warning")


def _write(
    plan: Plan, info: BundleInfo, catchments: Catchments, inputs: Sequence[Variable]
) -> tuple[Path, Path]:
    """Write all files of a preparation, or none; return the realization and the hydrofabric."""
    root = plan.output
    config, store = root / "config", root / "forcings" / "store"
    models = config / "cat_config" / MODEL
    forcing = None if plan.forcing is None else open_forcing(plan.forcing)
    for folder in (models, root / "outputs" / "ngen", root / "outputs" / "troute"):
        make_folder(folder)
    with locked(config, patience=0.0) as workspace:
        moves: list[tuple[Path, Path]] = []
        if plan.stored_forcing:
            make_folder(store.parent)
            _require_one_disk(store.parent, workspace)
            moves.append((workspace / store.name, store))
            with _in_place_of(store):
                refuse_foreign(store, *STORE)
                _store(plan, workspace / store.name, forcing, inputs, catchments.ids, info)
        staged, new = workspace / MODEL, workspace / "config"
        staged.mkdir()
        new.mkdir()
        _configurations(plan, staged, info, catchments, store)
        geopackage = _hydrofabric(plan, catchments, new)
        document = _realization(plan, catchments.ids, forcing, new)
        write_atomic(new / REALIZATION, (json.dumps(document, indent=2) + "\n").encode())
        if plan.stored_forcing:
            refuse_foreign(store, *STORE)
        for folder, target in ((staged, models), (staged / BUNDLE, models / BUNDLE), (new, config)):
            files = [file for file in folder.glob("*") if file.is_file()]
            if files:
                make_folder(target)
            moves += ((file, target / file.name) for file in files)
        # Without these nothing starts on what is half in place: not ngen, not a component.
        moves.sort(key=lambda pair: (pair[1].name == REALIZATION, pair[1].name == SHARED))
        exchange(moves, _outdated(staged, models), workspace)
    return config / REALIZATION, geopackage


def _require_one_disk(forcings: Path, workspace: Path) -> None:
    """Refuse a folder for the store that cannot be exchanged together with the configurations."""
    if forcings.stat().st_dev != workspace.stat().st_dev:
        raise NextGenError(
            f"{forcings}: lies on another disk than {workspace.parent}, so both cannot be replaced at once; "
            "choose an --output whose folders are on one disk"
        )


@contextmanager
def _in_place_of(path: Path) -> Iterator[None]:
    """Name the place of what is written in a workspace."""
    try:
        yield
    except WriteError as problem:
        raise WriteError(problem.errno, problem.strerror, str(path)) from problem


def _is_ours(file: Path) -> bool:
    with opened(file, NextGenError) as content:
        return content.read(len(CATCHMENT_HEAD.encode())) == CATCHMENT_HEAD.encode()


def _outdated(staged: Path, models: Path) -> list[Path]:
    """Files that an earlier preparation wrote and this one does not; all others stay."""
    outdated = [
        file
        for file in models.glob("*.yml")
        if not (staged / file.name).exists() and file.is_file() and _is_ours(file)
    ]
    if (staged / BUNDLE).exists():
        with suppress(BundleError):
            outdated += [
                models / BUNDLE / name
                for name in BundleInfo.read(models / BUNDLE).files
                if is_weights(name) and not (staged / BUNDLE / name).exists()
            ]
    return outdated


def _required_attributes(info: BundleInfo, pet: str | None) -> list[Variable]:
    """Attributes that the table of catchments must have."""
    required = [v for v in info.variables if v.kind == "attribute"]
    takes_pet = any(v.name == PET.standard_name for v in info.variables if v.kind == "input")
    if pet is None and takes_pet:
        return required
    names = {v.name for v in required}
    return required + [PLACE[n] for n in (METHODS[pet].attributes if pet else ()) if n not in names]


def _require_states(plan: Plan, ids: Sequence[str]) -> None:
    """Refuse a time that has no state for some catchments, as a run that was killed while saving leaves."""
    folder = plan.output / "outputs" / "states"
    saved = {p.name: {f.stem for f in p.glob("*.state")} for p in sorted(folder.glob("*"))}
    start = plan.start.astype(datetime).strftime(TIME)
    absent = [name for name in ids if name not in saved.get(start, ())]
    if absent:
        whole = [time for time, names in saved.items() if names.issuperset(ids)]
        remedy = (
            f"choose a --start that has all: {listed(whole[::-1])}" if whole else "no time has all of them"
        )
        raise NextGenError(
            f"{folder / start}: the states of {len(absent)} of {len(ids)} catchments are missing "
            f"({listed(absent)}); {remedy}"
        )


def _store(
    plan: Plan,
    folder: Path,
    forcing: Forcing | None,
    variables: Sequence[Variable],
    ids: Sequence[str],
    info: BundleInfo,
) -> None:
    """Store forcing of whole model steps, so that the last one is complete too."""
    if forcing is None:
        raise NextGenError("--stored-forcing requires --forcing, the files to store")
    columns = {}
    for variable in variables:
        column = forcing.column(variable.symbol) or forcing.column(variable.name)
        if column is None:
            hint = "; choose --pet to compute it" if variable.name == PET.standard_name else ""
            raise NextGenError(f"{forcing.path}: has no {variable.symbol} ({variable.name}){hint}")
        columns[variable.symbol] = column
    day = np.timedelta64(round(float(info.description["step"])), "s")
    origin = plan.start.astype("datetime64[D]") + np.timedelta64(round(plan.day_start_hour * STEP), "s")
    last = origin + -((origin - plan.end) // day) * day
    write_store(folder, forcing, columns, ids, plan.start, plan.end, last, plan.missing_forcing)


def _configurations(plan: Plan, folder: Path, info: BundleInfo, catchments: Catchments, store: Path) -> None:
    """Write the table of catchments, their shared configuration, and a file for each."""
    area = catchments.fabric.divides.area[catchments.keep]
    attributes.write(folder / "catchments.csv", catchments.ids, catchments.columns, area)
    bundle = plan.bundle
    if find(plan.bundle).parent != SHIPPED:
        info.copy(folder / BUNDLE)
        bundle = BUNDLE
    text = yaml.safe_dump(_shared(plan, bundle, store), sort_keys=False)
    create(
        folder / SHARED,
        f"# Shared by all catchments; the file of each names this one and its catchment.\n{text}".encode(),
    )
    with progress(len(catchments.ids), "configurations", "catchment") as bar:
        for name in catchments.ids:
            create(folder / f"{name}.yml", (CATCHMENT_HEAD + f"{json.dumps(name)}\n").encode())
            bar.update()


def _shared(plan: Plan, bundle: str, store: Path) -> dict[str, Any]:
    """Return the keys of the configuration that all catchments share."""
    content: dict[str, Any] = {
        "bundle": bundle,
        "catchments": {"file": "catchments.csv"},
        "time_step": STEP,
        "start_time": str(plan.start),
        "day_start_hour": plan.day_start_hour,
        "missing_forcing": plan.missing_forcing,
        "threads": 1,
    }
    if plan.pet is not None:
        content["pet"] = {"method": plan.pet}
    restart: dict[str, Any] = {}
    if plan.restart:
        restart["read"] = STATES
    if plan.save_every is not None:
        restart |= {"write": STATES, "every": plan.save_every * STEP}
    if restart:
        content["restart"] = restart
    if plan.stored_forcing:
        content["forcing"] = str(Path("..") / ".." / ".." / store.relative_to(plan.output))
    return content


def _hydrofabric(plan: Plan, catchments: Catchments, new: Path) -> Path:
    """Return the GeoPackage for `ngen`: that of a run folder, or a copy without traps, made in `new`."""
    fabric, keep = catchments.fabric, catchments.keep
    if plan.ngiab:
        if not keep.all():
            raise NextGenError(
                "divides cannot be dropped from a run folder, whose hydrofabric must not change; choose "
                "--missing-attributes neighbours, or make the run folder without them"
            )
        return plan.hydrofabric
    target = new / plan.hydrofabric.name
    dropped = [name for name, kept in zip(fabric.divides.ids, keep.tolist(), strict=True) if not kept]
    troute.copy_for_routing(fabric, target, dropped)
    return plan.output / "config" / target.name


def _realization(plan: Plan, ids: Sequence[str], forcing: Forcing | None, new: Path) -> dict[str, Any]:
    init_config = f"./config/cat_config/{MODEL}/{{{{id}}}}.yml"
    outputs = plan.outputs or (RUNOFF,)
    module = realization.module(init_config, RUNOFF, outputs, plan.model_params, plan.mass_balance)
    formulation = realization.multi([module], RUNOFF, outputs) if plan.multi else module
    routing = None
    if plan.routing:
        name = plan.hydrofabric.name
        content = troute.configuration(f"./config/{name}", plan.start, plan.end, "./outputs/ngen/")
        troute.write(new / "troute.yaml", content)
        routing = "./config/troute.yaml"
    provider = _forcing_provider(plan, forcing)
    return realization.realization(formulation, provider, plan.start, plan.end, len(ids), routing)


def _forcing_provider(plan: Plan, forcing: Forcing | None) -> dict[str, Any]:
    """Return the block of a realization that says where `ngen` finds forcing."""
    if plan.stored_forcing:
        return {"provider": "NullForcingProvider"}
    if forcing is None:
        raise NextGenError("give --forcing, for ngen to read or, with --stored-forcing, for the components")
    path = forcing.path
    where = f"./{path.relative_to(plan.output)}" if path.is_relative_to(plan.output) else str(path.absolute())
    if os.path.isdir(path):
        return {"path": where, "file_pattern": FILE_PATTERN, "provider": "CsvPerFeature"}
    return {"path": where, "provider": "NetCDF"}
