"""Two models of the same catchments at two steps: what they share and what one hands over to the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..physics import State
from ..physics.catchment import QUEUE
from .delta_model import DeltaModel


class ModelPair(nn.Module):
    """Two models of the same catchments at two steps.

    Parameters
    ----------
    slow, fast : DeltaModel
        The fast model has the stores of the slow one, and may have more, which start as at any start; the
        slow step is a whole multiple of the fast one.
    shared : sequence of str
        Networks that are the same in both, such as the MLP that derives static parameters from
        attributes: rates are per day, so a parameter means the same at either step. The slow
        model's network replaces the fast model's.
    transfer : mapping of str to str
        Recurrent networks of `fast`, each with the one of `slow` whose memory it starts from, by
        a learned linear map. Others start from their initial state.
    """

    def __init__(
        self,
        slow: DeltaModel,
        fast: DeltaModel,
        shared: Sequence[str] = (),
        transfer: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.slow, self.fast = slow, fast
        self.shared, self.transfer = tuple(shared), dict(transfer or {})
        self.ratio = round(slow.step / fast.step)
        if self.ratio < 2 or self.ratio * fast.step != slow.step:
            raise ConfigError(f"a step of {slow.step:g} s is not a multiple of one of {fast.step:g} s")
        for key in self.shared:
            if not (isinstance(slow.nn, nn.ModuleDict) and isinstance(fast.nn, nn.ModuleDict)):
                raise ConfigError("networks are shared by their keys; give nn as a mapping")
            if fast.networks[key].describe() != slow.networks[key].describe():
                raise ConfigError(f"network {key!r} differs between the models and cannot be shared")
            fast.nn[key] = slow.nn[key]
        fast_state, slow_state = fast.init_state(1), slow.init_state(1)
        for name in (s.name for s in slow.declaration.states):
            shape = slow_state[name].shape
            if name not in fast_state or (fast_state[name].shape != shape and not _is_queue(name)):
                raise ConfigError(f"the fast model has no store {name} of shape {tuple(shape[1:])}")
        self.memory = nn.ModuleDict(
            {
                f"{key}-{name}": nn.Linear(
                    slow_state[f"{other}.{name}"].shape[1], value.shape[1], dtype=value.dtype
                )
                for key, other in self.transfer.items()
                for name, value in fast.networks[key].init_state(1).items()
            }
        )

    @property
    def _stores(self) -> tuple[str, ...]:
        return tuple(state.name for state in self.slow.declaration.states)

    @property
    def shared_stores(self) -> tuple[str, ...]:
        """Return the names of the stores that both models have alike; a queue is handed over."""
        return tuple(name for name in self._stores if not _is_queue(name))

    def forward(
        self,
        past: Mapping[str, Tensor],
        forcing: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor] | None = None,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Run the slow model through the past, and the fast one from its end on.

        Parameters
        ----------
        past : mapping of name to Tensor ``[slow steps, rows]``
        forcing : mapping of name to Tensor ``[fast steps, rows]``
        attributes : mapping of name to Tensor ``[rows]``
        outputs : collection of str, optional
            Fluxes of the fast model; all by default.

        Returns
        -------
        fluxes : dict of name to Tensor ``[fast steps, rows]``
        state : State
            State of the fast model, which continues from it alone.
        """
        return self.fast(forcing, attributes, self.start(past, attributes), outputs)

    def start(self, past: Mapping[str, Tensor], attributes: Mapping[str, Tensor] | None = None) -> State:
        """Compute the state from which the fast model starts, at the end of the past."""
        _, state = self.slow(past, attributes, outputs=())
        return self.hand_over(state)

    def hand_over(self, state: State) -> State:
        """Convert a state of the slow model to one of the fast model, with the same water.

        A queue of slow steps is spread evenly over the fast ones.
        """
        first = next(iter(state.values()))
        handed = self.fast.init_state(first.shape[0], dtype=self._dtype(state), device=first.device)
        for name in self._stores:
            handed[name] = (
                _spread(state[name], handed[name].shape[1], self.ratio) if _is_queue(name) else state[name]
            )
        for key, other in self.transfer.items():
            for name in self.fast.networks[key].init_state(1):
                handed[f"{key}.{name}"] = self.memory[f"{key}-{name}"](state[f"{other}.{name}"])
        return handed

    def _dtype(self, state: State) -> torch.dtype:
        return next((state[name].dtype for name in self._stores), torch.float64)


def _is_queue(name: str) -> bool:
    return name.rpartition(".")[2] == QUEUE


def _spread(queue: Tensor, length: int, ratio: int) -> Tensor:
    """Spread a queue over fast steps, ``[rows, length]``; later water leaves in the last of them."""
    spread = (queue / ratio).repeat_interleave(ratio, dim=1)
    if spread.shape[1] <= length:
        return nn.functional.pad(spread, (0, length - spread.shape[1]))
    return torch.cat([spread[:, : length - 1], spread[:, length - 1 :].sum(1, keepdim=True)], dim=1)
