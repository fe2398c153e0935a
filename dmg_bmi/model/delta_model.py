"""The differentiable model: networks, process models, and the roles that join them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from .. import physics
from ..arrays import DAY
from ..errors import AttributeTableError, ConfigError, ForcingError
from ..nn_models import Network
from ..physics import Balance, ProcessModel, State
from .compiled_blocks import CompiledBlocks
from .constants import Source, process_constants, source_names
from .declaration import compose_declaration
from .normalisation import FeatureStatistics, build_statistics
from .registry import build_network, build_process_models, descriptions
from .roles.base import ForwardContext, Role, split_by_key
from .roles.ensemble import EnsembleWeighting
from .roles.output_mixing import MixOutputRole
from .roles.parameters import ParameterRole
from .roles.resolve import from_plain, resolve_roles
from .sequence import run_process_models

__all__ = ["DAY", "DeltaModel", "ParameterRole", "resolve_roles"]

Modules = nn.Module | Mapping[str, nn.Module] | None
#: Steps times rows of a piece of a long sequence, and the fewest steps of one.
PIECE, MIN_PIECE = 2**16, 64
NO_MULTIPLIERS: Mapping[str, Tensor] = {}


class DeltaModel(nn.Module):
    """Networks and process equations in one ``nn.Module``.

    Parameters
    ----------
    nn, phy_model : module, mapping of str to module, or None
        A single module gets the key ``"nn"`` or ``"phy"``.
    roles : Role or sequence of Role
        How they meet (see :mod:`dmg_bmi.model.roles`). A network has one role.
    fixed : mapping of str to float, str or sequence of str
        Parameters with one value in all rows, or the name of the attribute that gives it; or such names,
        one for each of a parameter's components.
    statistics : mapping of str to FeatureStatistics
        Normalisation of network inputs; a name without one passes unchanged.
    step : float
        Seconds.

    Attributes
    ----------
    declaration : Declaration
        Inputs, states, outputs and balances of the whole model. States are named ``phy.SM``; with
        several process models fluxes are named ``model.flux``.
    compiled : bool
        Whether sequences run in blocks of steps compiled on first use, see
        :mod:`dmg_bmi.model.compiled_blocks`.

    Notes
    -----
    Networks run in the dtype of their weights, physics in the dtype of the forcing.
    """

    def __init__(
        self,
        nn: Modules = None,
        phy_model: Modules = None,
        roles: Role | Sequence[Role] = (),
        fixed: Mapping[str, Source] | None = None,
        statistics: Mapping[str, FeatureStatistics] | None = None,
        step: float = DAY,
    ) -> None:
        super().__init__()
        self.compiled = False
        self.nn = _to_module(nn)
        self.phy_model = _to_module(phy_model)
        self.step = float(step)
        self.fixed = dict(fixed or {})
        self.statistics = dict(statistics or {})
        models = self.process_models
        roles = (roles,) if isinstance(roles, Role) else tuple(roles)
        self.roles = resolve_roles(roles, self.networks, models, self.fixed)
        self._bindings = [role.bind(models, self.statistics) for role in self.roles]
        for binding in self._bindings:
            binding.check(self.networks[binding.key])
        self.declaration, self._outputs = compose_declaration(models, self.roles, self.statistics, self.fixed)

    # -- parts and description ---------------------------------------------------------------

    @property
    def networks(self) -> dict[str, Network]:
        """Return the networks by key."""
        return _modules_by_key(self.nn, "nn")

    @property
    def process_models(self) -> dict[str, ProcessModel]:
        """Return the process models by key."""
        return _modules_by_key(self.phy_model, "phy")

    @property
    def dt(self) -> float:
        """Return the step in days."""
        return self.step / DAY

    @property
    def forcing_names(self) -> tuple[str, ...]:
        """Return what forward needs in `forcing`: names of the equations, then of the networks."""
        return tuple(f.name for f in self.declaration.forcings)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Return what forward needs in `attributes`: names of the equations, then of the networks."""
        return tuple(a.name for a in self.declaration.attributes)

    @property
    def members(self) -> tuple[str, ...]:
        """Return the keys of what a flow is the mean of: process models, and networks mixed with them.

        Each has a flow of its own, ``key.Q``.
        """
        mixed = (role.network for role in self.roles if isinstance(role, MixOutputRole))
        return (*self.process_models, *mixed)

    @property
    def learned(self) -> tuple[str, ...]:
        """Return the names of parameters that a network supplies: ``phy.BETA``."""
        return tuple(
            f"{role.model}.{name}"
            for role in self.roles
            if isinstance(role, ParameterRole)
            for name in role.supplied
        )

    def describe(self) -> dict[str, Any]:
        """Return everything but the weights, as plain data that :meth:`build` accepts."""
        return {
            "step": self.step,
            "nn": {key: network.describe() for key, network in self.networks.items()},
            "phy_model": {key: model.describe() for key, model in self.process_models.items()},
            "roles": [role.describe() for role in self.roles],
            "fixed": dict(self.fixed),
            "statistics": {name: s.describe() for name, s in self.statistics.items()},
        }

    @classmethod
    def build(
        cls,
        *,
        nn: Mapping[str, Any] | None = None,
        phy_model: Mapping[str, Any] | None = None,
        roles: Sequence[Mapping[str, Any] | Role] = (),
        fixed: Mapping[str, Source] | None = None,
        statistics: Mapping[str, Mapping[str, Any] | FeatureStatistics] | None = None,
        step: float = DAY,
    ) -> Self:
        """Build a new model from plain data; network sizes follow from their roles.

        Parameters
        ----------
        nn, phy_model : mapping
            One description (with a key ``name``), or one per key.
        roles, fixed, statistics, step
            As for the constructor, each item plain or typed.
        """
        models = build_process_models(descriptions(phy_model, "phy"))
        described = descriptions(nn, "nn")
        typed = resolve_roles([from_plain(role) for role in roles], described, models, fixed or {})
        stats = build_statistics(statistics or {})
        networks = {}
        for binding in (role.bind(models, stats) for role in typed):
            networks[binding.key] = build_network(described[binding.key], binding.n_inputs, binding.n_outputs)
        return cls(networks or None, models or None, typed, fixed, stats, step)

    # -- running ---------------------------------------------------------------

    def forward(
        self,
        forcing: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor] | None = None,
        state: State | None = None,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Run a sequence.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
        attributes : mapping of name to Tensor ``[rows]``
            And, for a model whose rows act on each other, its graph, under the declared names.
        state : State, optional
            Before the first step; :meth:`init_state` by default.
        outputs : collection of str, optional
            Fluxes to keep; all by default.

        Returns
        -------
        fluxes : dict of name to Tensor ``[time, rows]``
            Those of :attr:`declaration`.
        state : State
            After the last step. A sequence cut in two continues from it unchanged.

        Raises
        ------
        ForcingError, AttributeTableError
            When a forcing or attribute is missing.
        """
        missing = [name for name in self.forcing_names if name not in forcing]
        if missing:
            raise ForcingError(f"missing forcing: {', '.join(missing)}")
        first = next(iter(forcing.values()))
        n = first.shape[1]
        constants = self.precompute(attributes or {}, n, dtype=first.dtype)
        if state is None:
            state = self.init_state(n, dtype=first.dtype, device=first.device)
        return self.run(forcing, constants, state, outputs)

    def precompute(
        self,
        attributes: Mapping[str, Tensor],
        n: int,
        dtype: torch.dtype = torch.float64,
        multipliers: Mapping[str, Tensor] = NO_MULTIPLIERS,
    ) -> State:
        """Compute everything that is constant over steps: tensors with rows first.

        Parameters that come from attributes alone or are fixed (``phy.BETA``), tensors derived
        from them, attributes of the equations (``phy.static.elevation``) and their graph
        (``phy.static.downstream``; only the graph has no rows first), normalised attributes of
        networks with inputs (``nn.attributes``) and outputs of other networks without inputs
        (``nn.values``).

        Parameters
        ----------
        attributes : mapping of name to Tensor
            As for :meth:`forward`.
        n : int
            Rows.
        dtype : torch.dtype
            Of the equations.
        multipliers : mapping of name to Tensor ``[rows]``
            Factors on some of :attr:`learned`, for calibration; products stay within the bounds.
        """
        missing = [name for name in self.attribute_names if name not in attributes]
        if missing:
            raise AttributeTableError(f"missing attributes: {', '.join(missing)}")
        constants: State = {}
        for binding in self._bindings:
            constants |= binding.precompute(self.networks[binding.key], attributes, dtype)
        learned = split_by_key(constants, self.process_models)
        factors = split_by_key(multipliers, self.process_models)
        for key, model in self.process_models.items():
            of_model = process_constants(
                model, learned[key], attributes, self.fixed, factors[key], n, dtype, self.dt
            )
            constants |= {f"{key}.{name}": value for name, value in of_model.items()}
        return constants

    def init_state(
        self, n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> State:
        """Return the state of `n` rows before the first step: ``phy.SM``, ``nn.h``, ``nn.frozen``, ..."""
        state: State = {}
        for key, model in self.process_models.items():
            stores = model.init_state(n, dtype=dtype, device=device)
            state |= {f"{key}.{name}": value for name, value in stores.items()}
        for binding in self._bindings:
            state |= binding.init_state(self.networks[binding.key], n, dtype, device)
        return state

    def freeze(self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]) -> State:
        """Make an initial state whose static parameters are those at the end of a window.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
            The window. The networks run over it from their initial state; nothing else of it is kept.
        attributes : mapping of name to Tensor ``[rows]``
        """
        context = ForwardContext.start(self.process_models, forcing, *self._initial(forcing, attributes))
        for binding in self._bindings:
            binding.freeze(self.networks[binding.key], context)
        return context.state

    def _initial(
        self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]
    ) -> tuple[State, State]:
        """Return constants and initial state of the rows of some forcing."""
        first = next(iter(forcing.values()))
        n = first.shape[1]
        constants = self.precompute(attributes, n, dtype=first.dtype)
        state = self.init_state(n, dtype=first.dtype, device=first.device)
        return constants, state

    def learned_parameters(
        self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the values of all :attr:`learned` parameters, see :meth:`row_parameters`."""
        learned = {*self.learned}
        return {n: v for n, v in self.row_parameters(forcing, attributes).items() if n in learned}

    def row_parameters(
        self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute all parameters that differ between rows, networks run from their initial state.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
            Any series of as many rows where no parameter depends on the weather.
        attributes : mapping of name to Tensor ``[rows]``

        Returns
        -------
        dict of name to Tensor
            The :attr:`learned` ones and those that an attribute gives: ``[rows, *shape]`` where they
            come from attributes alone, else ``[time, rows, *shape]``.
        """
        context = ForwardContext.start(self.process_models, forcing, *self._initial(forcing, attributes))
        for role, binding in zip(self.roles, self._bindings, strict=True):
            if isinstance(role, ParameterRole):
                binding.before_physics(self.networks[binding.key], context)
        dynamic = {
            f"{key}.{name}": v for key, series in context.dynamic.items() for name, v in series.items()
        }
        given = [
            f"{key}.{p.name}"
            for key, model in self.process_models.items()
            for p in model.declaration.parameters
            if source_names(self.fixed.get(p.name, 0.0))
        ]
        names = (*self.learned, *given)
        return {name: dynamic[name] if name in dynamic else context.constants[name] for name in names}

    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Run a sequence as :meth:`forward` does, with the constants of :meth:`precompute`.

        Without gradients a long sequence runs in pieces, so that memory does not grow with its length.
        """
        length, rows = next(iter(forcing.values())).shape[:2]
        piece = max(PIECE // max(rows, 1), MIN_PIECE)
        undivided = torch.is_grad_enabled() or self.training
        if undivided or length <= piece or any(m.sequence_only for m in self.process_models.values()):
            return self._run(forcing, constants, state, outputs)
        pieces: list[dict[str, Tensor]] = []
        for start in range(0, length, piece):
            now = {name: values[start : start + piece] for name, values in forcing.items()}
            fluxes, state = self._run(now, constants, state, outputs)
            pieces.append(fluxes)
        return {name: torch.cat([fluxes[name] for fluxes in pieces]) for name in pieces[0]}, state

    def _run(
        self, forcing: Mapping[str, Tensor], constants: State, state: State, outputs: Collection[str] | None
    ) -> tuple[dict[str, Tensor], State]:
        return self.finish(self.prepare(forcing, constants, state), outputs)

    def prepare(self, forcing: Mapping[str, Tensor], constants: State, state: State) -> ForwardContext:
        """Run what acts before the process models over a block; :meth:`finish` does the rest."""
        context = ForwardContext.start(self.process_models, forcing, constants, state)
        for binding in self._bindings:
            binding.before_physics(self.networks[binding.key], context)
        return context

    def finish(
        self, context: ForwardContext, outputs: Collection[str] | None = None
    ) -> tuple[dict[str, Tensor], State]:
        """Run the process models over a prepared block, which is used up, and what acts after them.

        Forcing and parameters of the process models may have been changed in between.
        """
        selected = None if outputs is None else [o for o in self._outputs if o.flux.name in outputs]
        models, networks = self.process_models, self.networks
        run_process_models(models, context, selected, self.dt, CompiledBlocks() if self.compiled else None)
        for binding in self._bindings:
            binding.after_physics(networks[binding.key], context)
        fluxes = {
            o.flux.name: context.fluxes[o.key][o.name]
            for o in (self._outputs if selected is None else selected)
        }
        return fluxes, context.new

    # -- conservation --------------------------------------------------------

    def storage(self, balance: Balance, state: State, constants: State) -> Tensor:
        """Compute the storage of a conserved quantity, ``[rows]``: the weighted mean of an ensemble."""
        stored = {}
        states = split_by_key(state, self.process_models)
        for key, model in self.process_models.items():
            names = tuple(name[len(key) + 1 :] for name in balance.stored if name.startswith(f"{key}."))
            if names:
                stored[key] = physics.storage(model, states[key], replace(balance, stored=names))
        return self.weigh(stored, constants)

    def weigh(self, amounts: Mapping[str, Tensor], constants: State) -> Tensor:
        """Add up amounts ``[rows]`` in process models: of an ensemble by its constant weights."""
        if len(amounts) > 1:
            weights = next(
                binding.by_model(constants)
                for binding in self._bindings
                if isinstance(binding, EnsembleWeighting)
            )
            amounts = {key: weights[key] * values for key, values in amounts.items()}
        return torch.stack([*amounts.values()]).sum(0)

    def residual(
        self,
        balance: Balance,
        forcing: Mapping[str, Tensor],
        fluxes: Mapping[str, Tensor],
        constants: State,
        before: State,
        after: State,
    ) -> Tensor:
        """Compute in + exchange - out - change of storage over a sequence, ``[rows]``; zero when closed."""
        change = self.storage(balance, after, constants) - self.storage(balance, before, constants)
        mass_in = physics.mass_in(balance, forcing, fluxes).sum(0)
        return mass_in - physics.mass_out(balance, fluxes).sum(0) - change


def _to_module(modules: Modules) -> nn.Module | None:
    if not isinstance(modules, Mapping):
        return modules
    try:
        return nn.ModuleDict(modules)
    except KeyError as error:  # such as "parameters" or "phy.1"
        raise ConfigError(f"a key of networks or process models cannot be used: {error.args[0]}") from error


def _modules_by_key(module: nn.Module | None, default: str) -> dict[str, Any]:
    if module is None:
        return {}
    return dict(module.items()) if isinstance(module, nn.ModuleDict) else {default: module}
