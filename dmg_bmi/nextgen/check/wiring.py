"""Connections between the modules of a realization, its forcing and its outputs."""

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
    provided = _outputs_by_name(context, modules, nested)
    used = [column for module in modules for column in _inputs(context, module, provided, modules, nested)]
    forcing = context.forcing
    if forcing is not None and (used or _any_foreign(modules)):
        hold = all(m.component is None or m.component.config.missing_forcing == "hold" for m in modules)
        missing: MissingForcing = "hold" if hold else "error"
        check_forcing(forcing, sorted(set(used)), ids, context.period, missing, context.findings)
    elif forcing is not None:
        context.findings.warning(
            "global.forcing", "no module uses it; provider NullForcingProvider saves reading it"
        )
    _check_outputs(context, where, params, modules)


def _any_foreign(modules: Sequence[Module]) -> bool:
    return any(module.component is None for module in modules)


def _outputs_by_name(context: CheckContext, modules: Sequence[Module], nested: bool) -> dict[str, str]:
    """Return the units of all outputs, by the names under which other modules find them."""
    taken = context.forcing.names() if context.forcing is not None else set()
    provided: dict[str, str] = {}
    for module in modules:
        if module.component is None:
            continue
        about = module.component.about
        for name in about.outputs:
            public = module.alias.get(name, name)
            if nested and public in taken:
                context.findings.error(
                    f"{module.where}.variables_names_map",
                    f"output {name}: {public} is the name of a forcing or of another module's output, which "
                    "ends ngen; map it to another name",
                )
            taken.add(public)
            provided[public] = about.units[name]
        odd = sorted(module.alias.keys() - {*about.inputs, *about.outputs})
        if odd:
            context.findings.error(
                f"{module.where}.variables_names_map",
                f"{', '.join(odd)}: neither inputs nor outputs of the module",
            )
    return provided


def _inputs(
    context: CheckContext,
    module: Module,
    provided: Mapping[str, str],
    modules: Sequence[Module],
    nested: bool,
) -> list[str]:
    """Return the columns of the forcing that a module uses."""
    if module.component is None:
        return []
    about, forcing, used = module.component.about, context.forcing, []
    for name in about.inputs:
        at, public, units = f"{module.where}: input {name}", module.alias.get(name, name), about.units[name]
        column = forcing.column(public) if forcing is not None else None
        if column is not None and forcing is not None:
            used.append(column)
            _check_units(context, at, forcing.units[column], units)
        elif nested and public in provided:
            _check_units(context, at, provided[public], units)
        elif not (nested and _any_foreign(modules)):
            hint = ""
            if "potential_evaporation" in name:
                hint = "; set `pet: {method: penman_monteith}` in the shared configuration"
            context.findings.error(at, f"nothing provides {public}, which ends ngen{hint}")
    return used


def _check_units(context: CheckContext, where: str, units: str, requested: str) -> None:
    """Check that UDUNITS converts it; if not, `ngen` takes the number as it is."""
    if requested not in NO_UNITS and not convertible(units, requested):
        context.findings.error(
            where,
            f"units {units!r} cannot become {requested!r}, and ngen would take the number as it is. Map the "
            "input to a field that can, or give the file's true units",
        )


def _check_outputs(
    context: CheckContext, where: str, params: Mapping[str, Any], modules: Sequence[Module]
) -> None:
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
        if not _any_foreign(modules):
            error(f"{where}.main_output_variable", f"{main} is not an output; depths are {depths}")
    elif not convertible(units[main], "m"):
        error(
            f"{where}.main_output_variable",
            f"{main} is in {units[main]}, and ngen would take the number as metres; depths are {depths}",
        )
    chosen = params.get("output_variables")
    if chosen is None:
        return
    bad = [name for name in chosen if name not in units]
    if bad and not _any_foreign(modules):
        error(f"{where}.output_variables", f"{', '.join(bad)}: not published outputs, which ends ngen")
    headers = params.get("output_header_fields")
    if headers and len(headers) != len(chosen):
        context.findings.warning(
            f"{where}.output_header_fields",
            f"{len(headers)} for {len(chosen)} output_variables, so ngen writes the names",
        )
