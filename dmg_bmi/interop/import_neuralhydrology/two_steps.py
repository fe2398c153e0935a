"""Runs of two time steps (MTS-LSTM): what the slow network is, and the weights of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class SlowBranch:
    """The slow network of a run of two time steps.

    Parameters
    ----------
    slow, fast : str
        Their frequencies, as in the names of weights.
    ratio : int
        Fast steps of a slow one.
    hidden_size, seq_length : int
    dynamic : tuple of str
        Its dynamic inputs.
    transfer : mapping of {"h", "c"} to {"linear", "identity", None}
    shared : bool
        Whether both were trained as one.
    """

    slow: str
    fast: str
    ratio: int
    hidden_size: int
    seq_length: int
    dynamic: tuple[str, ...]
    transfer: Mapping[str, str | None]
    shared: bool

    def options(self, inputs: tuple[str, ...], fast: tuple[str, ...], fast_length: int) -> dict[str, Any]:
        """Return the options of the network here, beside those of every network.

        Parameters
        ----------
        inputs : tuple of str
            Dynamic inputs of the whole.
        fast : tuple of str
            Those of the fast network.
        fast_length : int
        """
        return {
            "name": "mts_lstm",
            "slow_hidden_size": self.hidden_size,
            "slow_inputs": [inputs.index(name) for name in self.dynamic],
            "fast_inputs": [inputs.index(name) for name in fast],
            "ratio": self.ratio,
            "slow_length": self.seq_length,
            "fast_length": fast_length,
            "transfer": dict(self.transfer),
            "shared": self.shared,
        }

    def renamed(self, theirs: Mapping[str, Tensor], whole: bool) -> dict[str, Tensor]:
        """Return weights without their frequencies; only those of the fast network unless `whole`.

        The head of the slow network is left out.
        """
        prefixes = {f"heads.{self.fast}.": "head.", f"heads.{self.slow}.": None}
        prefixes |= {f"lstms.{self.fast}.": "fast." if whole else "lstm."}
        prefixes |= {f"lstms.{self.slow}.": "slow." if whole else None}
        for name in ("h", "c"):
            prefixes[f"transfer_fcs.{name}_{self.slow}."] = f"transfers.{name}." if whole else None
        weights = {}
        for name, weight in theirs.items():
            prefix = next((p for p in prefixes if name.startswith(p)), "")
            new = prefixes.get(prefix, "")
            if new is not None:
                weights[new + name.removeprefix(prefix)] = weight
        if self.shared and not whole and {"lstm.weight_ih_l0", "lstm.bias_ih_l0"} <= weights.keys():
            # The last two inputs tell the steps apart; to the fast one they are always 0 and 1.
            inputs = weights["lstm.weight_ih_l0"]
            weights["lstm.weight_ih_l0"] = inputs[:, :-2]
            weights["lstm.bias_ih_l0"] = weights["lstm.bias_ih_l0"] + inputs[:, -1]
        return weights
