"""Template of a network: a gated recurrent unit. Copy it and change everything."""

import torch
from dmg_bmi.nn_models import Network, State
from torch import Tensor, nn


class GRU(Network):
    """One GRU layer (Cho et al., 2014) and a linear one.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Given by the role that the network has in a model.
    hidden_size : int
    """

    name = "gru"
    recurrent = True

    def __init__(self, n_inputs: int, n_outputs: int, hidden_size: int = 64) -> None:
        super().__init__(n_inputs, n_outputs)
        self.hidden_size = hidden_size
        self.gru = nn.GRU(n_inputs, hidden_size)
        self.linear_out = nn.Linear(hidden_size, n_outputs)

    def init_state(self, n: int) -> State:
        """Return the hidden state ``[n, hidden_size]``, zero; a network that is not recurrent omits this."""
        return {"h": torch.zeros(n, self.hidden_size, dtype=self.dtype, device=self.device)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map ``[time, rows, n_inputs]`` to unbounded ``[time, rows, n_outputs]`` and the state after it."""
        x, h = self.gru(x, state["h"].unsqueeze(0))
        return self.linear_out(x), {"h": h.squeeze(0)}
