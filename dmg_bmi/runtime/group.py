"""A group: many rows of one model, stepping together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..delta_model import DeltaModel
from ..physics import State
from .engine import Engine

FloatArray = NDArray[np.float64]


class Group:
    """Rows of one model: their attributes, their state, one engine.

    Parameters
    ----------
    model : DeltaModel
        Networks in the dtype of their weights; physics runs in float64.
    engine : Engine
    attributes : mapping of name to array ``[rows]``
    n : int
        Rows.
    device : str
    """

    def __init__(
        self,
        model: DeltaModel,
        engine: Engine,
        attributes: Mapping[str, FloatArray],
        n: int,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.engine = engine
        self.n = n
        self.device = torch.device(device)
        self.outputs = tuple(f.name for m in model.process_models.values() for f in m.declaration.fluxes)
        self.state: State = model.init_state(n, dtype=torch.float64, device=self.device)
        self.set_attributes(attributes)

    def set_attributes(self, attributes: Mapping[str, FloatArray]) -> None:
        """Compute anew what follows from attributes alone; the state stays."""
        tensors = {name: self._tensor(values) for name, values in attributes.items()}
        with torch.inference_mode():
            self.prepared = self.model.prepare(tensors, self.n, dtype=torch.float64)

    def advance(self, forcing: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Step all rows through ``forcing[name][time, rows]``; fluxes ``[time, rows]`` come back.

        The state is replaced only when the whole block has run.
        """
        tensors = {name: self._tensor(values) for name, values in forcing.items()}
        fluxes, state = self.engine.run(tensors, self.prepared, self.state)
        self.state = {**self.state, **state}
        return {name: series.cpu().numpy() for name, series in fluxes.items()}

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)).to(self.device)
