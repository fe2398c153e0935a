"""One module of a realization that runs this package: its keys, configuration and parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ...bmi import DeltaModelBmi
from ...errors import DmgBmiError
from ...model.variables import Variable
from ...runtime.catchments import implausible
from ...runtime.component import Component
from ...runtime.config import utc
from ...runtime.restart import TIME
from .context import STEP, CheckContext, Period


@dataclass(frozen=True)
class Module:
    """Parameters of a module, and its component; None for a module of another package.

    Parameters
    ----------
    where : str
        Place in the realization.
    params : mapping
    component : Component, optional
        That of the first catchment.
    """

    where: str
    params: Mapping[str, Any]
    component: Component | None

    @property
    def alias(self) -> Mapping[str, str]:
        """Return other names of its variables."""
        return self.params.get("variables_names_map") or {}


def examine(context: CheckContext, where: str, params: Mapping[str, Any], ids: Sequence[str]) -> Module:
    """Examine one module by itself."""
    _check_keys(context, where, params)
    if str(params.get("python_type", "")).partition(".")[0] != "dmg_bmi":
        return Module(where, params, None)
    component = _component(context, where, params, ids)
    if component is not None:
        _check_config(context, where, component, ids)
        _check_params(context, f"{where}.model_params", params.get("model_params") or {}, component, ids)
        _check_mass_balance(context, f"{where}.mass_balance", params.get("mass_balance"), component)
        if not params.get("cache_input_variable_metadata") and component.about.inputs:
            context.findings.warning(
                f"{where}.cache_input_variable_metadata", "true saves half of the calls at every step"
            )
    return Module(where, params, component)


def _check_keys(context: CheckContext, where: str, params: Mapping[str, Any]) -> None:
    """Look for keys that end `ngen` or have no effect, whatever the module is."""
    error, warning = context.findings.error, context.findings.warning
    for key in ("variables_names_map", "mass_balance", "model_params"):
        if params.get(key) == {}:
            error(f"{where}.{key}", "an empty object ends ngen; remove the key")
    if params.get("uses_forcing_file") or params.get("forcing_file"):
        error(f"{where}.uses_forcing_file", "is not supported any more and ends ngen; remove it")
    for key in ("output_precision", "fixed_time_step"):
        if key in params:
            hint = " (output.precision at the top level has)" if key == "output_precision" else ""
            warning(f"{where}.{key}", f"has no effect{hint}")
    if "module_path" in params and not os.path.isdir(context.base / params["module_path"]):
        error(f"{where}.module_path", f"{params['module_path']} is not a folder, which ends ngen")
    if "python_type" in params and "." not in str(params["python_type"]):
        error(f"{where}.python_type", f"{params['python_type']!r} has no module; write dmg_bmi.DeltaModelBmi")


def _component(
    context: CheckContext, where: str, params: Mapping[str, Any], ids: Sequence[str]
) -> Component | None:
    """Initialize the component of the first catchment."""
    config = _init_config(context, where, params, ids)
    if config is None:
        return None
    bmi = DeltaModelBmi()
    try:
        bmi.initialize(str(config))
    except DmgBmiError as problem:
        context.findings.error(f"{where}.init_config", str(problem))
        return None
    component = bmi.component
    # Not finalized: that would write a restart file.
    component.group.leave(component)
    return component


def _init_config(
    context: CheckContext, where: str, params: Mapping[str, Any], ids: Sequence[str]
) -> Path | None:
    """Return the configuration of the first catchment, if those of all exist."""
    pattern = str(params.get("init_config", ""))
    paths = {i: context.base / pattern.replace("{{id}}", i) for i in ids}
    missing = [i for i, path in paths.items() if not os.path.isfile(path)]
    if missing:
        context.findings.error(f"{where}.init_config", f"{pattern}: no such files", missing)
        return None
    return next(iter(paths.values()))


def _check_config(context: CheckContext, where: str, component: Component, ids: Sequence[str]) -> None:
    """Compare the configuration with the catchments and the clock of `ngen`."""
    error, config = context.findings.error, component.config
    at = config.shared or f"{where}.init_config"
    if component.clock.step != STEP:
        error(
            at, f"time_step: ngen steps by 3600 s, this by {component.clock.step:g} s; write time_step: 3600"
        )
    listed = set(component.group.table.ids)
    absent = [i for i in ids if i not in listed]
    if absent and config.shared is not None:
        error(at, "catchments of the hydrofabric are not in the table of catchments", absent)
    if config.shared is None and len(ids) > 1:
        error(at, "every catchment is its own model; use a shared configuration (keys shared, catchment)")
    if config.restart.read is not None and "{id}" in str(config.restart.read):
        lost = [i for i in ids if not _state_of(component, i).is_file()]
        if lost:
            error(at, f"restart.read: {_state_of(component, '<id>')} does not exist", lost)
    if context.period is not None:
        _check_period(context, at, component, context.period)


def _check_period(context: CheckContext, at: object, component: Component, period: Period) -> None:
    """Compare the clock and the stored forcing with the period of the run."""
    error, config, clock = context.findings.error, component.config, component.clock
    start, end = period
    if config.start_time is None:
        if clock.ratio > 1:
            context.findings.warning(at, "without start_time days count from the first step")
    elif np.datetime64(utc(config.start_time).replace(tzinfo=None), "s") != start:
        error(at, f"start_time {config.start_time} is not that of the realization, {start}")
    seconds = float((end - start) / np.timedelta64(1, "s"))
    if clock.end < seconds:
        error(at, f"end_time is before the end of the last step, {end}; remove it or write that")
    store = component.group.store
    if store is not None:
        last = (clock.phase * clock.step + seconds) / clock.model_step
        missing = store.missing_seconds(int(np.ceil(last - 1e-9)) - 1)
        if missing:
            error(
                store.path,
                f"ends {missing:g} s too early: ngen includes its end, so the last step is that before "
                f"{end}, and a model step requires all of its forcing. End the run earlier or store more",
            )


def _state_of(component: Component, name: str) -> Path:
    """Return the state file that a catchment would read."""
    path, time = str(component.config.restart.read), component.valid_time
    return Path(path.replace("{id}", name).replace("{time}", "" if time is None else time.strftime(TIME)))


def _check_params(
    context: CheckContext, where: str, params: Mapping[str, Any], component: Component, ids: Sequence[str]
) -> None:
    error, table = context.findings.error, component.about.by_name
    for name, value in params.items():
        at = f"{where}.{name}"
        variable = table.get(name)
        if variable is None:
            error(at, "no such variable, which ends ngen; `dmg-bmi inspect` lists all")
            continue
        if variable.kind == "state" and component.config.restart.read is not None:
            error(at, "is set after the restart file is read and replaces its value; remove one")
        if variable.kind not in ("attribute", "state", "multiplier"):
            error(at, f"is an {variable.kind}, which a parameter sets for one step only")
            continue
        if isinstance(value, Mapping):
            _from_hydrofabric(context, at, name, value, variable, ids)
            continue
        numbers = _as_numbers(value)
        if numbers is None:
            error(at, f"{value!r} is not a number, and ngen skips it with a warning")
        elif len(numbers) != variable.size:
            error(
                at,
                f"has {len(numbers)} numbers, {name} has {variable.size}: a short list is filled with "
                "arbitrary memory, a long one is cut",
            )
        else:
            _check_values(context, at, np.array(numbers), variable)


def _as_numbers(value: Any) -> list[float] | None:
    """Return the numbers that `ngen` makes of a JSON value: it reads text as a number where it can."""
    values = value if isinstance(value, list) else [value]
    flat: list[Any] = []
    for item in values:
        flat += item if isinstance(item, list) else [item]
    try:
        return None if any(isinstance(v, bool) or v is None for v in flat) else [float(v) for v in flat]
    except (TypeError, ValueError):
        return None


def _check_values(
    context: CheckContext, at: str, values: np.ndarray, variable: Variable, ids: Sequence[str] = ()
) -> None:
    bad = implausible(values) | (values < variable.lower) | (values > variable.upper)
    if bad.any():
        limits = f" from {variable.lower:g} to {variable.upper:g}" if isfinite(variable.lower) else ""
        named = [ids[k] for k in np.flatnonzero(bad).tolist()] if len(ids) else ()
        context.findings.error(at, f"{values[bad][0]:g} is not a plausible value{limits}", named)


def _from_hydrofabric(
    context: CheckContext,
    at: str,
    name: str,
    value: Mapping[str, Any],
    variable: Variable,
    ids: Sequence[str],
) -> None:
    error = context.findings.error
    if value.get("source") != "hydrofabric":
        error(at, f"source {value.get('source')!r} is unknown and ends ngen; the only one is hydrofabric")
        return
    column = str(value.get("from", name))
    if column not in context.divides.properties:
        error(
            at,
            f"the layer divides has no column {column} (divide-attributes are not visible to ngen), so the "
            "parameter would silently keep its value",
        )
        return
    by_id = dict(zip(context.divides.ids, context.divides.properties[column], strict=True))
    empty = [i for i in ids if not isinstance(by_id[i], int | float)]
    if empty:
        error(at, f"{column} is not a number in the hydrofabric and would be skipped", empty)
    if variable.size != 1:
        error(at, f"one number of the hydrofabric cannot fill the {variable.size} of {name}")
    rest = [i for i in ids if isinstance(by_id[i], int | float)]
    _check_values(context, at, np.array([float(by_id[i]) for i in rest]), variable, rest)


def _check_mass_balance(context: CheckContext, where: str, settings: Any, component: Component) -> None:
    if not settings:
        return
    error = context.findings.error
    if component.group.balance is None:
        error(where, f"{component.info.name} has no water balance, so ngen would switch the check off")
    if not settings.get("check", True):
        context.findings.warning(where, "check is false: nothing is checked")
    if settings.get("frequency", 1) < 0:
        error(where, "a negative frequency never checks anything; write a number of steps such as 24")
    elif settings.get("frequency", 1) == 0:
        error(where, "frequency 0 switches the check off; write a number of steps such as 24")
    if settings.get("tolerance", 1e-16) < 1e-9:
        error(where, "tolerance must be given, 1e-9 (mm) or more: the default 1e-16 is below rounding")
