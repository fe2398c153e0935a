"""Process models of an installed ``hydrodl2``, for training and forward runs.

They run whole sequences only, so they cannot become bundles or BMI components.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..physics import HBV, Catchment, HBV11p, ProcessModel, State
from ..physics.contract import ProcessFunction

try:
    from hydrodl2 import load_model
except ImportError as problem:
    raise ImportError("its process models require hydrodl2 itself: pip install hydrodl2") from problem

#: Our models of the same equations, from which the declaration is taken.
EQUATIONS: Mapping[str, type[ProcessModel]] = {"Hbv": HBV, "Hbv_1_1p": HBV11p}
#: Their names of the fluxes that are the same here.
FLUXES = {
    "Q": "streamflow",
    "Q_generated": "streamflow_no_rout",
    "Q0": "srflow_no_rout",
    "Q1": "ssflow_no_rout",
    "Q2": "gwflow_no_rout",
    "ET": "AET_hydro",
    "capillary": "capillary",
}
#: Least distance of a parameter from its bounds, as a share of its range: there its logit is infinite.
MARGIN = 1e-6


class HydrodlModel(ProcessModel):
    """A process model of ``hydrodl2``, daily, with its unit hydrograph, in float32.

    Parameters
    ----------
    name : {"Hbv", "Hbv_1_1p"}
        Name of their class.
    nmul : int
        Parallel components.

    Notes
    -----
    The state is that of the stores, without gradient. Water in the unit hydrograph is not in it
    (only ``Hbv_1_1p`` could return that): a sequence that continues from a state starts with an
    empty hydrograph, as after ``warmup_states`` there. Its floors create a little water. So no
    balance is declared. Routing parameters are those of the last step.
    """

    def __init__(self, name: str, nmul: int = 1) -> None:
        super().__init__()
        if name not in EQUATIONS:
            raise ConfigError(f"hydrodl2: {name!r} cannot be plugged in; choose from {', '.join(EQUATIONS)}")
        self.name, self.nmul = name, nmul
        self._class = load_model(name)
        peer = self._peer(())
        same = Catchment(EQUATIONS[name](), nmul, peer.routing_len)
        self.declaration = replace(
            same.declaration,
            name=f"hydrodl2_{name}",
            states=tuple(
                replace(s, initial=peer.initial_state_value)
                for s in same.declaration.states
                if s.name in peer.state_names
            ),
            fluxes=tuple(f for f in same.declaration.fluxes if f.name in FLUXES),
            balances=(),
            processes={},
            derived={},
        )
        self.sequence_only = (
            "stepped day by day, hydrodl2 loses most of the routed water (of the volume 0.155 came out of "
            f"Hbv_2, 0.154 of Hbv). The same equations step here as phy_model {same.describe()}, and "
            "`dmg-bmi import` makes a bundle of a model trained with dmg"
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
        """Run a whole sequence, by the ``forward`` of a model of theirs made for it."""
        if dt != 1.0:
            raise ConfigError(
                f"hydrodl2: the step of {self.name} must be a day (86400 s), not {dt * 86400:g} s"
            )
        x = torch.stack([forcing[name] for name in ("P", "T", "PET")], dim=-1)
        peer = self._peer(dynamic, x.device)
        peer.load_states(tuple(state[name] for name in peer.state_names))
        raw = []
        for name, bounds in {**peer.parameter_bounds, **peer.routing_parameter_bounds}.items():
            name = name.removeprefix("par")
            value = dynamic[name] if name in dynamic else parameters[name]
            if not self.declaration.parameter(name).shape:
                value = value.unsqueeze(-1)
            raw.append(_before_sigmoid(value.float(), *bounds).expand(*x.shape[:2], -1))
        fluxes = peer({"x_phy": x.float()}, torch.cat(raw, dim=-1))
        stores = zip(peer.state_names, peer.get_states(), strict=True)
        return (
            {name: fluxes[FLUXES[name]].squeeze(-1).to(x.dtype) for name in outputs},
            {name: store.to(x.dtype) for name, store in stores},
        )

    def _peer(self, dynamic: Collection[str], device: torch.device | str = "cpu") -> Any:
        """Make a model of theirs that starts from given states, without a warm-up of its own."""
        config = {
            "dynamic_params": {self.name: [f"par{name}" for name in dynamic]},
            "nmul": self.nmul,
            "warmup": 0,
            "warmup_states": False,
            "cache_states": True,
        }
        return self._class(config, device=torch.device(device))


def _before_sigmoid(value: Tensor, lower: float, upper: float) -> Tensor:
    """Invert their sigmoid and scaling."""
    return torch.logit((value - lower) / (upper - lower), eps=MARGIN)
