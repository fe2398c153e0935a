"""A differentiable model: networks, process models, and how they meet."""

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
from .declaration import compose_declaration
from .normalisation import FeatureStatistics
from .registry import build_network, build_process_models, descriptions
from .roles.base import ForwardContext, Role, with_prefix
from .roles.ensemble import EnsembleWeighting
from .roles.parameters import ParameterRole, multiplied
from .roles.resolve import from_plain, resolve_roles

__all__ = ["DAY", "DeltaModel", "ParameterRole", "resolve_roles"]

Modules = nn.Module | Mapping[str, nn.Module] | None
#: Steps times rows of a piece of a long sequence, and the least steps of one.
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
    fixed : mapping of str to float or str
        Parameters held at one value in all rows, or that an attribute of this name gives.
    statistics : mapping of str to Statistic
        Normalisation of network inputs; a name without one passes unchanged.
    step : float
        Seconds.

    Attributes
    ----------
    declaration : Declaration
        What goes in, what is kept, what comes out and what is conserved, networks and all. States
        are named ``phy.SM``. With several process models fluxes are named ``model.flux``.
    compiled : bool
        Run sequences by blocks of steps that are compiled on first use, see
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
        fixed: Mapping[str, float | str] | None = None,
        statistics: Mapping[str, FeatureStatistics] | None = None,
        step: float = DAY,
    ) -> None:
        super().__init__()
        self.compiled = False
        self.nn = _as_module(nn)
        self.phy_model = _as_module(phy_model)
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

    # -- what it is ---------------------------------------------------------------

    @property
    def networks(self) -> dict[str, Network]:
        """Networks by key."""
        return _by_key(self.nn, "nn")

    @property
    def process_models(self) -> dict[str, ProcessModel]:
        """Process models by key."""
        return _by_key(self.phy_model, "phy")

    @property
    def dt(self) -> float:
        """The step in days."""
        return self.step / DAY

    @property
    def forcing_names(self) -> tuple[str, ...]:
        """All that forward needs in `forcing`: of the equations, then of the networks."""
        return tuple(f.name for f in self.declaration.forcings)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """All that forward needs in `attributes`: of the equations, then of the networks."""
        return tuple(a.name for a in self.declaration.attributes)

    @property
    def learned(self) -> tuple[str, ...]:
        """Parameters that a network supplies: ``phy.BETA``."""
        return tuple(
            f"{role.model}.{name}"
            for role in self.roles
            if isinstance(role, ParameterRole)
            for name in role.supplied
        )

    def describe(self) -> dict[str, Any]:
        """Everything but the weights, as plain data that :meth:`build` takes back."""
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
        fixed: Mapping[str, float | str] | None = None,
        statistics: Mapping[str, Mapping[str, Any] | FeatureStatistics] | None = None,
        step: float = DAY,
    ) -> Self:
        """A new model from plain data; sizes of the networks follow from their roles.

        Parameters
        ----------
        nn, phy_model : mapping
            One description (it has a key ``name``), or one per key.
        roles, fixed, statistics, step
            As for the constructor, each item plain or typed.
        """
        models = build_process_models(descriptions(phy_model, "phy"))
        described = descriptions(nn, "nn")
        typed = resolve_roles([from_plain(role) for role in roles], described, models, fixed or {})
        stats = typed_statistics(statistics or {})
        networks = {}
        for binding in (role.bind(models, stats) for role in typed):
            networks[binding.key] = build_network(described[binding.key], binding.n_inputs, binding.n_outputs)
        return cls(networks or None, models or None, typed, fixed, stats, step)

    # -- running it ---------------------------------------------------------------

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
            Also the graph of a model whose rows act on each other, under the names that
            it declares.
        state : State, optional
            Before the first step; :meth:`init_state` by default.
        outputs : collection of str, optional
            Fluxes to keep; all by default.

        Returns
        -------
        fluxes : dict of name to Tensor ``[time, rows]``
            Those of :attr:`declaration`.
        state : State
            After the last step. A sequence cut in two goes on from it unchanged.

        Raises
        ------
        ForcingError, AttributeTableError
            When a forcing or attribute is missing.
        """
        missing = [name for name in self.forcing_names if name not in forcing]
        if missing:
            raise ForcingError(f"forcing lacks {', '.join(missing)}")
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
        """What is constant over steps, computed once: tensors with rows first.

        Parameters that come from attributes alone or are fixed (``phy.BETA``), what is
        derived from them, attributes of the equations (``phy.static.elevation``) and their graph
        (``phy.static.downstream``, which alone has no rows first), normalised attributes of
        networks with inputs (``nn.attributes``) and what other networks without
        inputs say (``nn.values``).

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
            raise AttributeTableError(f"attributes lack {', '.join(missing)}")
        device = next((t.device for t in attributes.values()), torch.device("cpu"))
        constants: State = {}
        for binding in self._bindings:
            constants |= binding.precompute(self.networks[binding.key], attributes, dtype)
        for key, model in self.process_models.items():
            declaration = model.declaration
            for attribute in declaration.attributes:
                constants[f"{key}.static.{attribute.name}"] = attributes[attribute.name]
            for name in declaration.graph:
                if name in attributes:
                    constants[f"{key}.static.{name}"] = attributes[name]
            for parameter in declaration.parameters:
                if parameter.name in self.fixed:
                    held = self.fixed[parameter.name]
                    of_row = attributes[held] if isinstance(held, str) else torch.tensor(held, dtype=dtype)
                    of_row = of_row.to(device, dtype).reshape(-1, *(1 for _ in parameter.shape))
                    constants[f"{key}.{parameter.name}"] = of_row.expand(n, *parameter.shape).clone()
                name = f"{key}.{parameter.name}"
                if name in multipliers and name in constants:
                    constants[name] = multiplied(constants[name], multipliers[name], parameter)
                elif name in multipliers:
                    constants[f"{key}.multiplier.{parameter.name}"] = multipliers[name]
            known = with_prefix(constants, key)
            if declaration.derived and all(p in known for ps in declaration.derived.values() for p in ps):
                derived = model.derive(known, self.dt)
                constants |= {f"{key}.{name}": value for name, value in derived.items()}
        return constants

    def init_state(
        self, n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> State:
        """State of `n` rows before the first step: ``phy.SM``, ``nn.h``, ``nn.frozen``, ..."""
        state: State = {}
        for key, model in self.process_models.items():
            own = model.init_state(n, dtype=dtype, device=device)
            state |= {f"{key}.{name}": value for name, value in own.items()}
        for binding in self._bindings:
            state |= binding.init_state(self.networks[binding.key], n, dtype, device)
        return state

    def freeze(self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]) -> State:
        """An initial state whose static parameters are those at the end of a given window.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
            The window. The networks run over it from rest; nothing else of it is kept.
        attributes : mapping of name to Tensor ``[rows]``
        """
        first = next(iter(forcing.values()))
        n = first.shape[1]
        constants = self.precompute(attributes, n, dtype=first.dtype)
        context = self._context(
            forcing, constants, self.init_state(n, dtype=first.dtype, device=first.device)
        )
        for binding in self._bindings:
            binding.freeze(self.networks[binding.key], context)
        return context.state

    def learned_parameters(
        self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Values of all :attr:`learned` parameters, the networks run from rest.

        Returns
        -------
        dict of name to Tensor
            ``[rows, *shape]`` of what comes from attributes alone, else ``[time, rows, *shape]``.
        """
        first = next(iter(forcing.values()))
        n = first.shape[1]
        constants = self.precompute(attributes, n, dtype=first.dtype)
        context = self._context(
            forcing, constants, self.init_state(n, dtype=first.dtype, device=first.device)
        )
        for binding in self._bindings:
            binding.before_physics(self.networks[binding.key], context)
        dynamic = {
            f"{key}.{name}": v for key, series in context.dynamic.items() for name, v in series.items()
        }
        return {name: dynamic[name] if name in dynamic else constants[name] for name in self.learned}

    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """As :meth:`forward`, from what :meth:`precompute` made of the attributes.

        Without gradients a long sequence runs in pieces, so that memory does not grow with its length.
        """
        length, rows = next(iter(forcing.values())).shape[:2]
        piece = max(PIECE // max(rows, 1), MIN_PIECE)
        whole = torch.is_grad_enabled() or self.training
        if whole or length <= piece or any(m.sequence_only for m in self.process_models.values()):
            return self._run(forcing, constants, state, outputs)
        kept: list[dict[str, Tensor]] = []
        for start in range(0, length, piece):
            now = {name: values[start : start + piece] for name, values in forcing.items()}
            fluxes, state = self._run(now, constants, state, outputs)
            kept.append(fluxes)
        return {name: torch.cat([fluxes[name] for fluxes in kept]) for name in kept[0]}, state

    def _run(
        self, forcing: Mapping[str, Tensor], constants: State, state: State, outputs: Collection[str] | None
    ) -> tuple[dict[str, Tensor], State]:
        wanted = self._outputs if outputs is None else [o for o in self._outputs if o.flux.name in outputs]
        context = self._context(forcing, constants, state)
        networks = self.networks
        for binding in self._bindings:
            binding.before_physics(networks[binding.key], context)
        for keys in self._batchable_groups(context, constants):
            known = _stack_rows([with_prefix(constants, key) for key in keys])
            series, own = physics.run(
                self.process_models[keys[0]],
                _stack_rows([context.driving[key] for key in keys], rows=1),
                _stack_rows([with_prefix(state, key) for key in keys]),
                known,
                with_prefix(known, "static"),
                self.dt,
                dynamic=_stack_rows([context.dynamic[key] for key in keys], rows=1),
                processes=context.processes[keys[0]],
                outputs=None if outputs is None else {n for o in wanted for k, n in o.needs if k in keys},
                block=CompiledBlocks() if self.compiled else None,
            )
            for place, key in enumerate(keys):
                context.fluxes[key] |= _unstack_rows(series, place, len(keys), rows=1)
                context.new |= {
                    f"{key}.{name}": value for name, value in _unstack_rows(own, place, len(keys)).items()
                }
        for binding in self._bindings:
            binding.after_physics(networks[binding.key], context)
        return {o.flux.name: context.fluxes[o.key][o.name] for o in wanted}, context.new

    def _batchable_groups(self, context: ForwardContext, constants: State) -> list[list[str]]:
        """Process models by key, those together that can run as rows of one: a step costs by its calls."""
        found: dict[object, list[str]] = {}
        for key, model in self.process_models.items():
            alone = model.declaration.graph or context.processes[key]
            # One module has the same equations for sure, which two with equal descriptions need not have.
            kind = key if alone else (id(model), *context.dynamic[key], *with_prefix(constants, key))
            found.setdefault(kind, []).append(key)
        return [*found.values()]

    def _context(self, forcing: Mapping[str, Tensor], constants: State, state: State) -> ForwardContext:
        models = self.process_models
        return ForwardContext(
            forcing,
            constants,
            state,
            driving={
                key: {f.name: forcing[f.name] for f in m.declaration.forcings} for key, m in models.items()
            },
            dynamic={key: {} for key in models},
            processes={key: {} for key in models},
            fluxes={key: {} for key in ("", *models)},
        )

    # -- what it conserves --------------------------------------------------------

    def storage(self, balance: Balance, state: State, constants: State) -> Tensor:
        """What `state` holds of a conserved quantity, ``[rows]``: of an ensemble the weighted mean."""
        held = {}
        for key, model in self.process_models.items():
            own = tuple(name[len(key) + 1 :] for name in balance.stored if name.startswith(f"{key}."))
            if own:
                held[key] = physics.storage(model, with_prefix(state, key), replace(balance, stored=own))
        if len(held) > 1:
            weights = next(
                binding.by_model(constants)
                for binding in self._bindings
                if isinstance(binding, EnsembleWeighting)
            )
            held = {key: weights[key] * stored for key, stored in held.items()}
        return torch.stack([*held.values()]).sum(0)

    def residual(
        self,
        balance: Balance,
        forcing: Mapping[str, Tensor],
        fluxes: Mapping[str, Tensor],
        constants: State,
        before: State,
        after: State,
    ) -> Tensor:
        """In + exchange - out - change of storage over a sequence, ``[rows]``; zero when closed."""
        change = self.storage(balance, after, constants) - self.storage(balance, before, constants)
        supplied = physics.mass_in(balance, forcing, fluxes).sum(0)
        return supplied - physics.mass_out(balance, fluxes).sum(0) - change


def _stack_rows(parts: Sequence[Mapping[str, Tensor]], rows: int = 0) -> dict[str, Tensor]:
    """The rows, which stand at this place of the shapes, of several mappings in one."""
    first = parts[0]
    return {**first} if len(parts) == 1 else {n: torch.cat([part[n] for part in parts], rows) for n in first}


def _unstack_rows(whole: Mapping[str, Tensor], place: int, count: int, rows: int = 0) -> dict[str, Tensor]:
    """One part of what :func:`_stack_rows` made of so many."""
    return {n: v.tensor_split(count, rows)[place] for n, v in whole.items()} if count > 1 else {**whole}


def _as_module(modules: Modules) -> nn.Module | None:
    if not isinstance(modules, Mapping):
        return modules
    try:
        return nn.ModuleDict(modules)
    except KeyError as error:  # such as "parameters" or "phy.1"
        raise ConfigError(f"a key of networks and process models cannot be used: {error.args[0]}") from error


def _by_key(module: nn.Module | None, default: str) -> dict[str, Any]:
    if module is None:
        return {}
    return dict(module.items()) if isinstance(module, nn.ModuleDict) else {default: module}


def typed_statistics(
    given: Mapping[str, Mapping[str, Any] | FeatureStatistics],
) -> dict[str, FeatureStatistics]:
    """Statistics of names from plain data; ConfigError naming the one that is none."""
    return {name: _statistic(name, one) for name, one in given.items()}


def _statistic(name: str, given: Mapping[str, Any] | FeatureStatistics) -> FeatureStatistics:
    if isinstance(given, FeatureStatistics):
        return given
    try:
        return FeatureStatistics(**given)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"statistics.{name}: {error}") from error
