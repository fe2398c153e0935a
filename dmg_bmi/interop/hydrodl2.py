"""Process models of an installed ``hydrodl2``, for training and forward runs (nothing here needs it else).

They run whole sequences only, so no bundle and no BMI component can be made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..physics import HBV, Catchment, Declaration, HBV11p, ProcessModel, State
from ..physics.contract import ProcessFunction

try:
    from hydrodl2 import load_model
except ImportError as problem:
    raise ImportError("its process models need hydrodl2 itself: pip install hydrodl2") from problem

#: Equations that stand for theirs, and declare what goes in and out.
EQUATIONS: Mapping[str, type[ProcessModel]] = {"Hbv": HBV, "Hbv_1_1p": HBV11p}
#: Their name of a flux that is the same as ours.
FLUXES = {
    "Q": "streamflow",
    "Q_generated": "streamflow_no_rout",
    "Q0": "srflow_no_rout",
    "Q1": "ssflow_no_rout",
    "Q2": "gwflow_no_rout",
    "ET": "AET_hydro",
    "capillary": "capillary",
}
#: How near a bound a parameter comes, as a share of its range: its logit is infinite there.
MARGIN = 1e-6


class HydrodlModel(ProcessModel):
    """A process model of ``hydrodl2``, daily, with its unit hydrograph, in float32.

    Parameters
    ----------
    name : {"Hbv", "Hbv_1_1p"}
        Its class there.
    nmul : int
        Parallel components.

    Notes
    -----
    The state is that of the stores, without gradient. What is under way to the outlet is not in
    it: a sequence that goes on from a state starts with an empty hydrograph, as after
    ``warmup_states`` there. Its floors make a little water. So no balance is declared. Routing
    parameters are those of the last step.
    """

    def __init__(self, name: str, nmul: int = 1) -> None:
        super().__init__()
        if name not in EQUATIONS:
            raise ConfigError(f"hydrodl2: {name!r} cannot be plugged in; choose from {', '.join(EQUATIONS)}")
        self.name, self.nmul = name, nmul
        self._class = load_model(name)
        ours = EQUATIONS[name]()
        self.declaration = _declared(name, Catchment(ours, nmul, self._peer(()).routing_len), self._class)
        same = {**ours.describe(), "nmul": nmul, "routing": self._peer(()).routing_len}
        self.sequence_only = (
            "stepped day by day, hydrodl2 loses most of the routed water (0.155 of the volume came out). "
            f"Use the same equations, phy_model: {same}, or `dmg-bmi import-dmg` for what dmg has trained"
        )

    def run(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        dynamic: Mapping[str, Tensor],
        processes: Mapping[str, ProcessFunction],
        outputs: Collection[str],
    ) -> tuple[dict[str, Tensor], State]:
        """A whole sequence, by ``forward`` of a model of theirs that is made for it."""
        if dt != 1.0:
            raise ConfigError(f"hydrodl2: {self.name} has steps of a day (86400 s), not of {dt * 86400:g} s")
        ...
