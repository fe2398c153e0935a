"""A pair of models as one: the slow one spins up, the fast one goes on from there by itself.

The whole has the step of the fast model. While a row spins up, its forcing is collected for
the step of the slow model, whose fluxes are released in equal parts over the following one; then the
stores and the memory of the networks are handed over, and the fast model runs for good. All of it is in the
state, so that a spin-up can be saved and resumed, and rows can be at different places in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..physics import Balance, State, StateVariable
from .delta_model import NO_MULTIPLIERS, DeltaModel
from .pair import ModelPair
from .roles.base import with_prefix

PREFIX = "spin_up"
LEFT, POSITION, SHARES, FORCING, FLUXES, WATER = (
    f"{PREFIX}.{name}" for name in ("left", "position", "shares", "forcing", "fluxes", "water")
)
_WATER = StateVariable(
    WATER,
    "mm",
    "while spinning up: water that waits for a step of the slow model, and its fluxes that are to leave",
    rounding=inf,
)


class SpinUpModel(DeltaModel):
    """A fast model whose rows are spun up by a slow one.

    Parameters
    ----------
    pair : ModelPair
        Its parts become those of this model.
    steps : int
        Steps of the slow model that a row runs before the fast one goes on.
    """

    def __init__(self, pair: ModelPair, steps: int) -> None:
        fast, slow = pair.fast, pair.slow
        super().__init__(fast.nn, fast.phy_model, fast.roles, fast.fixed, fast.statistics, fast.step)
        if type(steps) is not int or steps < 1:
            raise ConfigError(f"spin_up.steps must be a whole number of at least 1, not {steps!r}")
        if PREFIX in self.networks or PREFIX in self.process_models:
            raise ConfigError(f"a model that is spun up cannot have a part named {PREFIX!r}")
        missing = sorted({*slow.forcing_names} - {*fast.forcing_names})
        if missing:
            raise ConfigError(
                f"the fast model has no forcing {', '.join(missing)}, which the slow one requires"
            )
        self.steps, self.ratio = steps, pair.ratio
        # A network that both share is registered once, as one of the fast model.
        self._pair = (pair,)
        self.slow_nn = nn.ModuleDict({k: v for k, v in slow.networks.items() if k not in pair.shared})
        self.memory = pair.memory
        self._aggregation = {f.name: f.aggregation for f in slow.declaration.forcings}
        self._sums = torch.tensor([f.aggregation == "sum" for f in self.declaration.fluxes])
        balance = next((b for b in self.declaration.balances if b.quantity == "water"), None)
        self._into = () if balance is None else balance.into
        #: What leaves counts once, exchange is taken off.
        self._net_signs = [
            0.0 if balance is None else float(f.name in balance.out) - float(f.name in balance.exchange)
            for f in self.declaration.fluxes
        ]
        slow_only = [s for s in slow.declaration.states if s.name not in pair.shared_stores]
        self._slow_only = tuple(s.name for s in slow_only)
        own = (*(replace(s, name=f"{PREFIX}.{s.name}") for s in slow_only), _WATER)
        attributes = {a.name: a for a in (*slow.declaration.attributes, *self.declaration.attributes)}
        self.declaration = replace(
            self.declaration,
            attributes=tuple(attributes.values()),
            states=(*self.declaration.states, *own),
            balances=tuple(
                replace(b, stored=(*b.stored, *(s.name for s in own))) if b.quantity == "water" else b
                for b in self.declaration.balances
            ),
        )

    @property
    def slow(self) -> DeltaModel:
        """Return the model that spins up."""
        return self._pair[0].slow

    def train(self, mode: bool = True) -> Self:
        """Set the mode of both models."""
        super().train(mode)
        for model in (*getattr(self, "_pair", ()),):
            model.slow.training = mode
        return self

    def describe(self) -> dict[str, Any]:
        """Return everything but the weights, as plain data that :func:`build_model` accepts."""
        pair = self._pair[0]
        spin_up = {
            "steps": self.steps,
            "shared": list(pair.shared),
            "transfer": dict(pair.transfer),
            "model": self.slow.describe(),
        }
        return {**super().describe(), "spin_up": spin_up}

    # -- running ---------------------------------------------------------------

    def precompute(
        self,
        attributes: Mapping[str, Tensor],
        n: int,
        dtype: torch.dtype = torch.float64,
        multipliers: Mapping[str, Tensor] = NO_MULTIPLIERS,
    ) -> State:
        """Compute the constants of both models, see :meth:`DeltaModel.precompute`."""
        shared = {name: factor for name, factor in multipliers.items() if name in self.slow.learned}
        slow = self.slow.precompute(attributes, n, dtype, shared)
        fast = super().precompute(attributes, n, dtype, multipliers)
        return fast | {f"{PREFIX}.{name}": value for name, value in slow.items()}

    def init_state(
        self, n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> State:
        """Return the state of `n` rows before their spin-up."""
        state = super().init_state(n, dtype=dtype, device=device)
        slow = self.slow.init_state(n, dtype=dtype, device=device)
        state |= {f"{PREFIX}.{k}": v for k, v in slow.items() if k not in self._pair[0].shared_stores}
        whole = torch.zeros(n, dtype=torch.int64, device=device)
        numbers = torch.zeros(n, dtype=dtype, device=device)
        return state | {
            LEFT: whole + self.steps,
            POSITION: whole,
            SHARES: whole.clone(),
            FORCING: numbers.new_zeros(n, len(self._aggregation)),
            FLUXES: numbers.new_zeros(n, len(self.declaration.fluxes)),
            WATER: numbers,
        }

    def spun_up(self, past: Mapping[str, Tensor], constants: State, state: State) -> State:
        """Return the state from which the fast model goes on, after a past of `steps` slow steps.

        Parameters
        ----------
        past : mapping of name to Tensor ``[fast steps, rows]``
        constants : State
        state : State
            Before the spin-up, with nothing collected yet.
        """
        whole = {
            name: _aggregate(past[name].unflatten(0, (-1, self.ratio)), how)
            for name, how in self._aggregation.items()
        }
        _, slow = self.slow.run(whole, with_prefix(constants, PREFIX), self._slow_state(state), outputs=())
        handed = self._pair[0].hand_over({**self._slow_state(state), **slow})
        return {**state, **handed, LEFT: torch.zeros_like(state[LEFT])}

    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Run a sequence of fast steps, see :meth:`DeltaModel.run`; rows that spin up collect it."""
        if not self._in_spin_up(state):
            fluxes, new = super().run(forcing, constants, state, outputs)
            return fluxes, {**state, **new}
        names = [f.name for f in self.declaration.fluxes if outputs is None or f.name in outputs]
        pieces: list[dict[str, Tensor]] = []
        for start in range(len(next(iter(forcing.values())))):
            rest = {name: values[start:] for name, values in forcing.items()}
            if not self._in_spin_up(state):
                fluxes, state = self.run(rest, constants, state, outputs)
                pieces.append(fluxes)
                break
            fluxes, state = self._mixed_step({k: v[:1] for k, v in rest.items()}, constants, state)
            pieces.append(fluxes)
        return {name: torch.cat([fluxes[name] for fluxes in pieces]) for name in names}, state

    def _in_spin_up(self, state: State) -> bool:
        """Tell whether any row spins up, or still releases what it spun up with."""
        return bool(torch.maximum(state[LEFT], state[SHARES]).any())

    def _mixed_step(
        self, forcing: Mapping[str, Tensor], constants: State, state: State
    ) -> tuple[dict[str, Tensor], State]:
        """Run one step of rows of which some spin up, or still release what they spun up with."""
        spinning = state[LEFT] > 0
        fluxes = {f.name: torch.zeros_like(next(iter(forcing.values()))) for f in self.declaration.fluxes}
        new = dict(state)
        if not bool(spinning.all()):
            of_fast, after = super().run(forcing, constants, state)
            fluxes = {name: torch.where(spinning, 0.0, series) for name, series in of_fast.items()}
            new |= {name: _choose(spinning, state[name], value) for name, value in after.items()}
        self._release(fluxes, spinning, new)
        self._collect(forcing, spinning, new)
        complete = spinning & (new[POSITION] == self.ratio)
        if bool(complete.any()):
            self._run_slow(complete, constants, new)
        return fluxes, new

    def _release(self, fluxes: dict[str, Tensor], spinning: Tensor, state: State) -> None:
        """Add the share of this step of what the slow model's latest one gave; levels last while spinning."""
        releasing = state[SHARES] > 0
        for place, flux in enumerate(self.declaration.fluxes):
            mask = releasing if flux.aggregation == "sum" else spinning
            share = torch.where(mask, state[FLUXES][:, place], 0.0)
            fluxes[flux.name] = fluxes[flux.name] + share
        state[WATER] = state[WATER] - torch.where(releasing, self._net(state[FLUXES]), 0.0)
        state[SHARES] = state[SHARES] - releasing.long()

    def _net(self, fluxes: Tensor) -> Tensor:
        """Compute what leaves, less exchange, by fluxes ``[rows, fluxes]`` of this model."""
        return fluxes @ fluxes.new_tensor(self._net_signs)

    def _collect(self, forcing: Mapping[str, Tensor], spinning: Tensor, state: State) -> None:
        """Add the forcing of this step to that of a step of the slow model."""
        begins = state[POSITION] == 0
        columns = []
        for place, (name, how) in enumerate(self._aggregation.items()):
            now, before = forcing[name][0], state[FORCING][:, place]
            joined = {"sum": before + now, "mean": before + now / self.ratio, "last": now}.get(how)
            if joined is None:
                extreme = torch.minimum(before, now) if how == "min" else torch.maximum(before, now)
                joined = torch.where(begins, now, extreme)
            columns.append(joined)
        water = sum((forcing[name][0] for name in self._into), torch.zeros_like(state[WATER]))
        state[FORCING] = _choose(spinning, torch.stack(columns, dim=-1), state[FORCING])
        state[WATER] = torch.where(spinning, state[WATER] + water, state[WATER])
        state[POSITION] = state[POSITION] + spinning.long()

    def _slow_state(self, state: State) -> State:
        pair = self._pair[0]
        own = {k: v for k, v in with_prefix(state, PREFIX).items() if f"{PREFIX}.{k}" not in _BOOKKEEPING}
        return {**{name: state[name] for name in pair.shared_stores}, **own}

    def _run_slow(self, complete: Tensor, constants: State, state: State) -> None:
        """Run a step of the slow model for the rows whose forcing is complete; the last one hands over."""
        names = [*self._aggregation]
        whole = {name: state[FORCING][:, place][None] for place, name in enumerate(names)}
        before = self._slow_state(state)
        fluxes, after = self.slow.run(whole, with_prefix(constants, PREFIX), before)
        after = {**before, **after}
        gained = torch.stack(
            [
                fluxes[f.name][0] if f.name in fluxes else torch.zeros_like(state[WATER])
                for f in self.declaration.fluxes
            ],
            dim=-1,
        )
        gained = torch.where(self._sums.to(gained.device), gained / self.ratio, gained)
        used = sum((whole[name][0] for name in self._into), torch.zeros_like(state[WATER]))
        water = state[WATER] - used + self.ratio * self._net(gained)
        for name, value in after.items():
            key = name if name in self._pair[0].shared_stores else f"{PREFIX}.{name}"
            state[key] = _choose(complete, value, state[key])
        state[WATER] = torch.where(complete, water, state[WATER])
        state[FLUXES] = _choose(complete, gained, state[FLUXES])
        state[FORCING] = _choose(complete, torch.zeros_like(state[FORCING]), state[FORCING])
        state[SHARES] = torch.where(complete, self.ratio, state[SHARES])
        state[POSITION] = torch.where(complete, 0, state[POSITION])
        state[LEFT] = state[LEFT] - complete.long()
        done = complete & (state[LEFT] == 0)
        if bool(done.any()):
            handed = self._pair[0].hand_over(after)
            for name, value in handed.items():
                state[name] = _choose(done, value, state[name])
            for name in self._slow_only:
                key = f"{PREFIX}.{name}"
                state[key] = _choose(done, torch.zeros_like(state[key]), state[key])

    # -- conservation --------------------------------------------------------

    def storage(self, balance: Balance, state: State, constants: State) -> Tensor:
        """Compute the storage of both models and what is on its way between them, ``[rows]``."""
        stored = super().storage(balance, state, constants)
        for name in balance.stored:
            if name.startswith(f"{PREFIX}."):
                stored = stored + (state[name] if state[name].dim() == 1 else state[name].flatten(1).sum(1))
        return stored


def build_model(description: Mapping[str, Any]) -> DeltaModel:
    """Build a new model from plain data: arguments of :meth:`DeltaModel.build`, and perhaps ``spin_up``.

    ``spin_up`` has the ``steps`` of the slow model, its description ``model``, and ``shared`` and
    ``transfer`` as for :class:`ModelPair`.

    Raises
    ------
    ConfigError
        If a key is missing or unknown, or the models are no pair.
    """
    described = dict(description)
    spin_up = described.pop("spin_up", None)
    fast = DeltaModel.build(**described)
    if spin_up is None:
        return fast
    keys = {"steps", "shared", "transfer", "model"}
    if not isinstance(spin_up, Mapping) or spin_up.keys() != keys:
        raise ConfigError(f"spin_up must have the keys {', '.join(sorted(keys))}")
    slow = DeltaModel.build(**spin_up["model"])
    return SpinUpModel(ModelPair(slow, fast, spin_up["shared"], spin_up["transfer"]), spin_up["steps"])


_BOOKKEEPING = (LEFT, POSITION, SHARES, FORCING, FLUXES, WATER)


def _choose(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Choose by rows between two tensors ``[rows, ...]``."""
    return torch.where(mask.reshape(-1, *(1 for _ in one.shape[1:])), one, other)


def _aggregate(values: Tensor, how: str) -> Tensor:
    """Aggregate ``[slow steps, fast steps, rows]`` over the fast ones."""
    if how == "last":
        return values[:, -1]
    if how in ("min", "max"):
        return values.amin(1) if how == "min" else values.amax(1)
    return values.sum(1) if how == "sum" else values.mean(1)
