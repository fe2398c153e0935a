"""What flows between the modules of a realization, its forcing and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...runtime.config import MissingForcing
from .context import CheckContext, convertible
from .forcing import check_forcing
from .module import Module

#: Requested units for which `ngen` converts nothing.
NO_UNITS = ("", "-", "none", "unitless", "dimensionless")


def check_wiring(
    context: CheckContext,
    where: str,
    params: Mapping[str, Any],
    modules: Sequence[Module],
    nested: bool,
    ids: Sequence[str],
) -> None:
    """Examine inputs, outputs and their units.

    Parameters
    ----------
    where : str
        Place of the formulation in the realization.
    params : mapping
        Of the formulation.
    modules : sequence of Module
    nested : bool
        Whether they are the modules of a bmi_multi.
    ids : sequence of str
        Catchments.
    """
    given = _given(context, where, modules, nested)
    used = [column for module in modules for column in _inputs(context, module, given, modules, nested)]
    forcing = context.forcing
    if forcing is not None and (used or _foreign(modules)):
        hold = all(m.component is None or m.component.config.missing_forcing == "hold" for m in modules)
        missing: MissingForcing = "hold" if hold else "error"
        check_forcing(forcing, sorted(set(used)), ids, context.period, missing, context.findings)
    elif forcing is not None:
        context.findings.warning(
            "global.forcing", "no module takes it; provider NullForcingProvider saves its reading"
        )
    _outputs(context, where, params, modules)


def _foreign(modules: Sequence[Module]) -> bool:
    return any(module.component is None for module in modules)


def _given(context: CheckContext, where: str, modules: Sequence[Module], nested: bool) -> dict[str, str]:
    """Units of all outputs, by the names that other modules know them by."""
    taken = context.forcing.names() if context.forcing is not None else set()
    given: dict[str, str] = {}
    for module in modules:
        if module.component is None:
            continue
        about = module.component.about
        for name in about.outputs:
            known = module.alias.get(name, name)
            if nested and known in taken:
                context.findings.error(
                    f"{module.where}.variables_names_map",
                    f"output {name}: {known} is the name of a forcing or of another module's output, which "
                    "ends ngen; map it to a name of its own",
                )
            taken.add(known)
            given[known] = about.units[name]
        odd = sorted(module.alias.keys() - {*about.inputs, *about.outputs})
        if odd:
            context.findings.error(
                f"{module.where}.variables_names_map",
                f"{', '.join(odd)}: neither inputs nor outputs of the module",
            )
    return given


def _inputs(
    context: CheckContext, module: Module, given: Mapping[str, str], modules: Sequence[Module], nested: bool
) -> list[str]:
    """Columns of the forcing that a module takes."""
    if module.component is None:
        return []
    about, forcing, used = module.component.about, context.forcing, []
    for name in about.inputs:
        at, asked, units = f"{module.where}: input {name}", module.alias.get(name, name), about.units[name]
        column = forcing.column(asked) if forcing is not None else None
        if column is not None and forcing is not None:
            used.append(column)
            _units(context, at, forcing.units[column], units)
        elif nested and asked in given:
            _units(context, at, given[asked], units)
        elif not (nested and _foreign(modules)):
            hint = ""
            if "potential_evaporation" in name:
                hint = "; set `pet: {method: penman_monteith}` in the shared configuration"
            context.findings.error(at, f"nothing provides {asked}, which ends ngen{hint}")
    return used


def _units(context: CheckContext, where: str, given: str, wanted: str) -> None:
    """Would UDUNITS convert it? If not, `ngen` takes the number as it is."""
    if wanted not in NO_UNITS and not convertible(given, wanted):
        context.findings.error(
            where,
            f"units {given!r} cannot become {wanted!r}, and ngen would take the number as it is. Map the "
            "input to a field that can, or give the file's true units",
        )


def _outputs(context: CheckContext, where: str, params: Mapping[str, Any], modules: Sequence[Module]) -> None:
    error = context.findings.error
    units: dict[str, str] = {}
    for module in modules:
        if module.component is not None:
            about = module.component.about
            for name in about.outputs:
                units[name] = units[module.alias.get(name, name)] = about.units[name]
    depths = ", ".join(sorted(name for name, unit in units.items() if convertible(unit, "m")))
    main = params.get("main_output_variable")
    if main not in units:
        if not _foreign(modules):
            error(f"{where}.main_output_variable", f"{main} is no output; depths are {depths}")
    elif not convertible(units[main], "m"):
        error(
            f"{where}.main_output_variable",
            f"{main} is in {units[main]}, and ngen would take the number as metres; depths are {depths}",
        )
    chosen = params.get("output_variables")
    if chosen is None:
        return
    bad = [name for name in chosen if name not in units]
    if bad and not _foreign(modules):
        error(f"{where}.output_variables", f"{', '.join(bad)}: no published outputs, which ends ngen")
    headers = params.get("output_header_fields")
    if headers and len(headers) != len(chosen):
        context.findings.warning(
            f"{where}.output_header_fields",
            f"{len(headers)} for {len(chosen)} output_variables, so ngen writes the names",
        )
