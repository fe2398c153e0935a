"""The initial state that dmg gives its models with ``warmup_states: True``."""

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
    """Compute the state of an imported model after the warm-up that dmg runs before a window.

    Static parameters are those of the last day of warm-up during warm-up, and those of the last
    day of the window afterwards. In HBV 1.0 the dynamic ones are held in warm-up too. The routing
    queue starts empty.

    Parameters
    ----------
    model : DeltaModel
        From :func:`dmg_bmi.interop.import_dmg.import_dmg`, with HBV 1.0 or 1.1p.
    forcing : mapping of name to Tensor ``[time, rows]``
        The window, which begins with the warm-up.
    attributes : mapping of name to Tensor ``[rows]``
    days : int
        Days of warm-up, at least one; the state is the one after them.

    Raises
    ------
    ConfigError
        If dmg does not warm up such a model.
    """
    equations, roles = model.declaration.name, model.roles
    role = roles[0] if len(roles) == 1 else None
    if equations not in ("hbv", "hbv_1_1p") or not isinstance(role, ParameterRole) or not role.inputs:
        raise ConfigError(f"dmg has no warm-up of {equations} with these networks; freeze without --as-dmg")
    warm_up_model = model
    if equations == "hbv":
        held = replace(role, dynamic=(), static=role.supplied)
        warm_up_model = DeltaModel(
            model.nn, model.phy_model, [held], model.fixed, model.statistics, model.step
        )
        warm_up_model.eval()
    first = {name: series[:days] for name, series in forcing.items()}
    state = model.freeze(forcing, attributes)
    begin = warm_up_model.freeze(first, attributes)
    for name, store in begin.items():
        if name.startswith("phy.") and name != "phy.queue":
            begin[name] = torch.full_like(store, INITIAL_STORE)
    _, after = warm_up_model(first, attributes, begin)
    # Frozen parameters are those of the window, and dmg does not route the warm-up.
    of_window = (".frozen", ".seen", "phy.queue")
    return {name: value if name.endswith(of_window) else after[name] for name, value in state.items()}
