"""The start that dmg gives its models with ``warmup_states: True``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.delta_model import DeltaModel
from ..model.roles import ParameterRole

#: Millimetres in every store of dmg before its first step.
INITIAL_STORE = 0.001


def warmed_up(
    model: DeltaModel, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor], days: int
) -> dict[str, Tensor]:
    """State of an imported model after the warm-up that dmg runs before a window.

    Static parameters are those of the last day of warm-up while it runs, and those of the last day
    of the window from then on. In HBV 1.0 the dynamic ones are held in warm-up too. Nothing is routed yet.

    Parameters
    ----------
    model : DeltaModel
        From :func:`dmg_bmi.interop.import_dmg.import_dmg`, with HBV 1.0 or 1.1p.
    forcing : mapping of name to Tensor ``[time, rows]``
        The window, which begins with the warm-up.
    attributes : mapping of name to Tensor ``[rows]``
    days : int
        Of warm-up, from one on; the state is valid thereafter.

    Raises
    ------
    ConfigError
        If dmg does not warm up such a model.
    """
    equations, roles = model.declaration.name, model.roles
    role = roles[0] if len(roles) == 1 else None
    if equations not in ("hbv", "hbv_1_1p") or not isinstance(role, ParameterRole) or not role.inputs:
        raise ConfigError(
            f"dmg has no warm-up of {equations} with these networks; freeze it without --as-dmg"
        )
    early = model
    if equations == "hbv":
        held = replace(role, dynamic=(), static=role.supplied)
        early = DeltaModel(model.nn, model.phy_model, [held], model.fixed, model.statistics, model.step)
        early.eval()
    first = {name: series[:days] for name, series in forcing.items()}
    state = model.freeze(forcing, attributes)
    begin = early.freeze(first, attributes)
    for name, store in begin.items():
        if name.startswith("phy.") and name != "phy.queue":
            begin[name] = torch.full_like(store, INITIAL_STORE)
    _, after = early(first, attributes, begin)
    # What is frozen is the window's, and dmg routes nothing of the warm-up.
    kept = (".frozen", ".seen", "phy.queue")
    return {name: value if name.endswith(kept) else after[name] for name, value in state.items()}
