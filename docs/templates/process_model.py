"""Template of a process model: a bucket that evaporates and drains. Copy it and change everything."""

from collections.abc import Mapping

from dmg_bmi.physics import (
    NO_PROCESSES,
    Balance,
    Declaration,
    Parameter,
    ProcessFunction,
    ProcessModel,
    State,
    StateVariable,
)
from dmg_bmi.physics.fluxes import ET, Q, limited
from dmg_bmi.physics.forcings import PET, P
from torch import Tensor

SOURCE = "where the equations are published"


class Bucket(ProcessModel):
    """Evaporation ``PET S/capacity`` and drainage ``k S`` of one store."""

    declaration = Declaration(
        name="bucket",
        forcings=(P, PET),
        parameters=(
            Parameter("capacity", 50.0, 1000.0, "mm", "storage at which evaporation is potential", SOURCE),
            Parameter("k", 0.01, 0.5, "d-1", "recession coefficient", SOURCE),
        ),
        states=(StateVariable("S", "mm", "stored water"),),
        fluxes=(Q, ET),
        balances=(Balance("water", "mm", into=("P",), out=("Q", "ET"), stored=("S",)),),
        source=SOURCE,
    )

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Fill, evaporate, drain. Forcings and fluxes are amounts per step, rates act for `dt` days."""
        stored = state["S"] + forcing["P"]
        wetness = (stored / parameters["capacity"]).clamp(max=1.0)
        evaporated = limited(forcing["PET"] * wetness, stored)
        stored = stored - evaporated
        drained = parameters["k"] * dt * stored
        return {"S": stored - drained}, {"Q": drained, "ET": evaporated}
