"""Everything that `ngen` needs to run a bundle over a hydrofabric."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from ...errors import BundleError, NextGenError
from ...hydrofabric import reader as hydrofabric
from ...hydrofabric.reader import Hydrofabric
from ...io.atomic import LOCK, create, exchange, locked, make_folder, refuse_foreign, write_atomic
from ...io.files import opened, require_file_name
from ...io.ngen_forcing import Forcing, open_forcing
from ...model.bundle import SHIPPED, BundleInfo, find
from ...model.variables import RUNOFF, Variable
from ...physics.forcings import PET
from ...runtime.config import Pet
from ...runtime.forcing.pet_from_weather import METHODS, make_forcing_inputs
from ...runtime.restart import TIME
from ..check.findings import Findings, listed
from ..check.realization import check
from . import attributes, realization, troute
from .stored_forcing import STORE, write_store
from .tables import read as read_table

STEP = 3600.0
MODEL = "DMG_BMI"
REALIZATION = "realization.json"
BUNDLE = "bundle"
#: How the file of one catchment begins, by which an earlier preparation's are known.
OF_CATCHMENT = "shared: shared.yaml\ncatchment: "
#: Where states are saved, as seen from the shared configuration.
STATES = "../../../outputs/states/{time}/{id}.state"
#: A file of one catchment: no digit behind its id, so that cat-1 is not cat-11.
FILE_PATTERN = ".*{{id}}[^0-9].*"
#: Columns of the table of catchments that PET may need, beside the bundle's attributes.
PLACE = {
    "latitude": Variable("latitude", "latitude", "attribute", "degree_north", "degree_north", "latitude"),
    "elevation": Variable("elevation", "elevation", "attribute", "m", "m", "mean elevation"),
}


@dataclass(frozen=True)
class Plan:
    """What is to be prepared.

    Parameters
    ----------
    bundle : str
        Folder, or name of a shipped one.
    output : Path
        The folder that `ngen` will run in.
    hydrofabric : Path
    start, end : datetime64
        The run covers ``[start, end)``, UTC.
    forcing : Path, optional
        `ngen`'s NetCDF file, or a folder of CSV files.
    own : bool
        Make a store of the forcing, which components read themselves.
    pet : str, optional
        How PET is computed from the weather.
    table : Path, optional
        Attributes by divide.
    columns : mapping
        Attribute to the name of its column, where they differ.
    holes : {"stop", "drop", "neighbours"}
        What to do where an attribute is missing.
    gaps : {"error", "hold"}
        What NaN in the forcing does.
    day_start_hour : float
        UTC hour at which a daily model's day begins.
    multi : bool
        Write a bmi_multi.
    routing : bool
        Write what t-route needs.
    mass_balance : bool
        Let `ngen` check that no water is lost.
    outputs : sequence of str
        Columns of the catchments' files; by default the depth of runoff.
    model_params : mapping
        Attributes, states and multipliers for all catchments.
    save_every : float, optional
        Hours after which the states of all catchments are saved, again and again.
    restart : bool
        Go on from the states saved for `start`.
    ngiab : bool
        The folder is a run folder of NextGen In A Box, whose hydrofabric is used as it is.
    """

    bundle: str
    output: Path
    hydrofabric: Path
    start: np.datetime64
    end: np.datetime64
    forcing: Path | None = None
    own: bool = False
    pet: str | None = None
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    holes: attributes.Holes = "stop"
    gaps: str = "error"
    day_start_hour: float = 0.0
    multi: bool = False
    routing: bool = True
    mass_balance: bool = True
    outputs: Sequence[str] = (RUNOFF,)
    model_params: Mapping[str, Any] = field(default_factory=dict)
    save_every: float | None = None
    restart: bool = False
    ngiab: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, getattr(self, name).astype("datetime64[s]"))
        if not self.start < self.end:
            raise NextGenError(f"the run would end at {self.end}, before it starts at {self.start}")


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Parameters
    ----------
    realization, hydrofabric : Path
        What `ngen` is called with.
    catchments : int
    findings : Findings
        Notes; what must be changed has been raised.
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
    info = BundleInfo.read(plan.bundle)
    fabric = hydrofabric.read(plan.hydrofabric)
    findings = Findings()
    for finding in fabric.findings:
        message = f"{finding.kind}: {finding.message}"
        if finding.fatal and finding.kind == "duplicate":
            findings.stop(fabric.path, f"{message}; keep one of each")
        # t-route takes a bed without slope.
        elif finding.fatal and plan.routing and finding.kind != "zero slope":
            findings.stop(fabric.path, f"{message}; mend that, or prepare without routing (--no-routing)")
        else:
            findings.note(fabric.path, message)
    inputs = make_forcing_inputs(
        [v for v in info.variables if v.kind == "input"],
        STEP,
        float(info.description["step"]),
        None if plan.pet is None else Pet(plan.pet),  # type: ignore[arg-type]  # checked by METHODS
    )
    wanted = _wanted(info, plan.pet)
    table = None if plan.table is None else read_table(plan.table)
    columns = attributes.gather(wanted, fabric, table, plan.columns)
    keep = attributes.complete(columns, wanted, fabric, plan.holes, findings)
    ids = [name for name, kept in zip(fabric.divides.ids, keep.tolist(), strict=True) if kept]
    columns = {name: values[keep] for name, values in columns.items()}
    attributes.compare(columns, info.statistics, ids, findings)
    findings.raise_fatal()
    if not ids:
        raise NextGenError(f"{fabric.path}: no divide has all attributes that {info.name} needs")
    for name in ids:
        require_file_name(name, f"{fabric.path}: divide", NextGenError)
    if plan.restart:
        _require_states(plan, ids)

    path, chosen = _write(plan, info, fabric, keep, columns, ids, inputs.variables)
    findings += check(path, chosen, plan.output)
    findings.raise_fatal()
    return Prepared(path, chosen, len(ids), findings)


def _write(
    plan: Plan,
    info: BundleInfo,
    fabric: Hydrofabric,
    keep: np.ndarray,
    columns: attributes.Columns,
    ids: Sequence[str],
    inputs: Sequence[Variable],
) -> tuple[Path, Path]:
    """All files of a preparation, or none; the realization and the hydrofabric."""
    root = plan.output
    config, store = root / "config", root / "forcings" / "store"
    models = config / "cat_config" / MODEL
    forcing = None if plan.forcing is None else open_forcing(plan.forcing)
    for folder in (models, root / "outputs" / "ngen", root / "outputs" / "troute"):
        make_folder(folder)
    with ExitStack() as stack:
        made = stack.enter_context(locked(models, patience=0.0))
        places: list[tuple[Path, Path]] = []
        if plan.own:
            make_folder(store.parent)
            beside = stack.enter_context(locked(store, patience=0.0)) / store.name
            places.append((beside, store))
            refuse_foreign(store, *STORE)
            _store(plan, beside, forcing, inputs, ids, info)
        attributes.write(made / "catchments.csv", ids, columns, fabric.divides.area[keep])
        _shared(plan, made, info, store if plan.own else None)
        for name in tqdm(ids, unit="catchment", desc="configurations"):
            create(made / f"{name}.yml", (OF_CATCHMENT + f"{json.dumps(name)}\n").encode())
        new = made / "config"
        new.mkdir()
        chosen = _hydrofabric(plan, fabric, new, keep)
        document = _realization(plan, ids, forcing, new)
        write_atomic(new / REALIZATION, (json.dumps(document, indent=2) + "\n").encode())
        if plan.own:
            refuse_foreign(store, *STORE)
        for folder, place in ((made, models), (made / BUNDLE, models / BUNDLE), (new, config)):
            files = [file for file in folder.glob("*") if file.is_file() and file.name != LOCK]
            if files:
                make_folder(place)
            places += ((file, place / file.name) for file in files)
        # Without a realization nothing starts on what is half in place.
        places.sort(key=lambda pair: pair[1].name == REALIZATION)
        exchange(places, _gone(made, models), made)
    return config / REALIZATION, chosen


def _is_ours(file: Path) -> bool:
    with opened(file, NextGenError) as content:
        return content.read(len(OF_CATCHMENT.encode())) == OF_CATCHMENT.encode()


def _gone(made: Path, models: Path) -> list[Path]:
    """What an earlier preparation wrote and this one does not; all else stays."""
    gone = [
        file
        for file in models.glob("*.yml")
        if not (made / file.name).exists() and file.is_file() and _is_ours(file)
    ]
    if (made / BUNDLE).exists():
        with suppress(BundleError):
            weights = BundleInfo.read(models / BUNDLE).weights_file
            if weights.startswith("weights-") and not (made / BUNDLE / weights).exists():
                gone.append(models / BUNDLE / weights)
    return gone


def _wanted(info: BundleInfo, pet: str | None) -> list[Variable]:
    """Attributes that the table of catchments needs."""
    wanted = [v for v in info.variables if v.kind == "attribute"]
    takes_pet = any(v.name == PET.standard_name for v in info.variables if v.kind == "input")
    if pet is None and takes_pet:
        return wanted
    names = {v.name for v in wanted}
    return wanted + [PLACE[n] for n in (METHODS[pet].attributes if pet else ()) if n not in names]


def _require_states(plan: Plan, ids: Sequence[str]) -> None:
    """A run that was killed while it saved leaves a folder with some of the states."""
    folder = plan.output / "outputs" / "states"
    saved = {p.name: {f.stem for f in p.glob("*.state")} for p in sorted(folder.glob("*"))}
    wanted = plan.start.astype(datetime).strftime(TIME)
    absent = [name for name in ids if name not in saved.get(wanted, ())]
    if absent:
        whole = [time for time, there in saved.items() if there.issuperset(ids)]
        remedy = f"choose a --start that has all: {listed(whole[::-1])}" if whole else "no time there has all"
        raise NextGenError(
            f"{folder / wanted}: lacks the states of {len(absent)} of {len(ids)} catchments "
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
    """Forcing of whole model steps, so that the last one is complete too."""
    if forcing is None:
        raise NextGenError("own forcing needs --forcing, to make a store of")
    columns = {}
    for variable in variables:
        column = forcing.column(variable.symbol) or forcing.column(variable.name)
        if column is None:
            hint = "; choose --pet to compute it" if variable.name == PET.standard_name else ""
            raise NextGenError(f"{forcing.path}: has no {variable.symbol} ({variable.name}){hint}")
        columns[variable.symbol] = column
    day = np.timedelta64(round(float(info.description["step"])), "s")
    origin = plan.start.astype("datetime64[D]") + np.timedelta64(round(plan.day_start_hour * STEP), "s")
    steps = -((origin - plan.end) // day)
    write_store(
        folder, forcing, columns, ids, plan.start, plan.end, origin + steps * day, plan.gaps == "hold"
    )


def _shared(plan: Plan, models: Path, info: BundleInfo, store: Path | None) -> None:
    """The configuration of all catchments, with the bundle beside it."""
    bundle = plan.bundle
    if find(plan.bundle).parent != SHIPPED:
        info.copy(models / BUNDLE)
        bundle = BUNDLE
    content: dict[str, Any] = {
        "bundle": bundle,
        "catchments": {"file": "catchments.csv"},
        "time_step": STEP,
        "start_time": str(plan.start),
        "day_start_hour": plan.day_start_hour,
        "missing_forcing": plan.gaps,
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
    if store is not None:
        content["forcing"] = str(Path("..") / ".." / ".." / store.relative_to(plan.output))
    text = "# Of all catchments; each names this file and itself.\n" + yaml.safe_dump(
        content, sort_keys=False
    )
    create(models / "shared.yaml", text.encode("utf-8"))


def _hydrofabric(plan: Plan, fabric: Hydrofabric, new: Path, keep: np.ndarray) -> Path:
    """The GeoPackage that `ngen` is given: that of a run folder, else a copy without traps, made in `new`."""
    if plan.ngiab:
        if not keep.all():
            raise NextGenError(
                "divides cannot be dropped from a run folder, whose hydrofabric is not ours to change; "
                "choose --holes neighbours, or make the run folder without them"
            )
        return plan.hydrofabric
    target = new / plan.hydrofabric.name
    dropped = [name for name, kept in zip(fabric.divides.ids, keep.tolist(), strict=True) if not kept]
    troute.copy_for_routing(fabric, target, dropped)
    return plan.output / "config" / target.name


def _realization(plan: Plan, ids: Sequence[str], forcing: Forcing | None, new: Path) -> dict[str, Any]:
    init_config = f"./config/cat_config/{MODEL}/{{{{id}}}}.yml"
    one = realization.module(init_config, RUNOFF, plan.outputs, plan.model_params, plan.mass_balance)
    formulation = realization.multi([one], RUNOFF, plan.outputs) if plan.multi else one
    given: dict[str, Any] = {"provider": "NullForcingProvider"}
    if not plan.own:
        if forcing is None:
            raise NextGenError("forcing that ngen pushes needs --forcing; or make it --own")
        path = forcing.path
        where = (
            f"./{path.relative_to(plan.output)}" if path.is_relative_to(plan.output) else str(path.absolute())
        )
        given = {"path": where, "provider": "NetCDF"}
        if os.path.isdir(path):
            given = {"path": where, "file_pattern": FILE_PATTERN, "provider": "CsvPerFeature"}
    routing = None
    if plan.routing:
        name = plan.hydrofabric.name
        content = troute.configuration(f"./config/{name}", plan.start, plan.end, "./outputs/ngen/")
        troute.write(new / "troute.yaml", content)
        routing = "./config/troute.yaml"
    return realization.realization(formulation, given, plan.start, plan.end, len(ids), routing)
