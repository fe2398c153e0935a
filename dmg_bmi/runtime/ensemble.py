"""A component whose catchments have members: rows of one batch, seen from outside by mean and quantiles.

All members of a catchment stand side by side. What a framework sets of a catchment is set of each of
its members, perturbed; what it reads is the mean over them, their quantiles, or one of them by its name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import ConfigError, ValueShapeError
from ..io.files import sha256
from ..model.bundle import BundleInfo
from ..model.variables import Variable, quantile_name
from . import restart
from .component import Component
from .config import RunConfig
from .group import Group
from .metadata import AREA, IDS, Metadata, id_number
from .snapshot import Snapshot

TOTALS = ("mass_in", "mass_out", "stored", "mass_leaked")


class EnsembleComponent(Component):
    """Catchments with members.

    Parameters
    ----------
    info : BundleInfo
    config : RunConfig
        With `ensemble`.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        assert config.ensemble is not None  # noqa: S101  `component_of` asks
        self._options, self._members = config.ensemble, config.ensemble.members
        super().__init__(info, config)

    def _row_names(self, group: Group) -> tuple[str, ...]:
        setup, catchment = group.setup, self.config.catchment
        self.catchments = setup.catchments if catchment is None else (catchment,)
        known = {name: k for k, name in enumerate(setup.catchments)}
        if catchment is None or catchment not in known:
            return group.table.ids if catchment is None else (catchment,)
        begin = known[catchment] * self._members
        return group.table.ids[begin : begin + self._members]

    def _begin_restarts(self) -> None:
        self._keeps_books = True
        self._make_arrays()
        if self._options.states and self.config.restart.read is None:
            self._perturb_states()
        super()._begin_restarts()
        self._refresh()

    # -- what is seen from outside ----------------------------------------------------

    def _make_arrays(self) -> None:
        group, n = self.group, len(self.catchments)
        names = group.inputs.names if group.store is None else ()
        self._given = np.full((len(names), n), np.nan)
        outputs = group.outputs
        self._samples = _samples(outputs, group) if self._options.bundle_members else None
        count = self._members * (1 if self._samples is None else self._samples.shape[1])
        #: Outputs that have quantiles and members: those with a standard name.
        self._shown = np.array([k for k, v in enumerate(outputs) if v.published], dtype=np.int64)
        levels = self._options.quantiles
        self._mean = np.full((len(outputs), n), np.nan)
        self._ranked = np.full((len(levels), len(self._shown), n), np.nan)
        self._each = np.full((count, len(self._shown), n), np.nan)
        place = np.array(levels) * (count - 1)
        self._below = np.floor(place).astype(np.int64)
        self._above = np.minimum(self._below + 1, count - 1)
        self._share = place - self._below
        shown = [outputs[k] for k in self._shown]
        table = [(v, self._mean[k]) for k, v in enumerate(outputs)]
        kinds = [
            (quantile_name("", level), values, True)
            for level, values in zip(levels, self._ranked, strict=True)
        ]
        kinds += [(f"__member_{k}", values, self._options.all_members) for k, values in enumerate(self._each)]
        for suffix, values, published in kinds:
            table += [(_named(v, suffix, published), values[k]) for k, v in enumerate(shown)]
        area = self.area[:: self._members].copy()
        flows = self._flow_table(table, area)
        self.arrays = {
            **{name: values[:: self._members].copy() for name, values in self.settable.items()},
            **{v.name: array for v, array in table},
            **{v.name: flow for v, flow, _, _ in flows},
            **dict(zip(names, self._given, strict=True)),
            IDS: np.array([id_number(name, k) for k, name in enumerate(self.catchments)], dtype=np.int64),
            AREA: area,
        }
        self._flows = [(flow, depth, factor) for _, flow, depth, factor in flows]
        self._totals = {name: np.zeros(n) for name in TOTALS}
        rest = [v for v in group.info.variables if v.kind in ("attribute", "multiplier")]
        rest += [replace(v, size=v.size * self._members) for v in group.info.variables if v.kind == "state"]
        described = [*group.inputs.forcings, *(v for v, _ in table), *(v for v, *_ in flows), *rest]
        self.about = Metadata(described, n, group.store is not None)

    def _flow_table(
        self, table: list[tuple[Variable, FloatArray]], area: FloatArray
    ) -> list[tuple[Variable, FloatArray, FloatArray, FloatArray]]:
        """Return each flow, its array, and the depth and the factor that make it."""
        found = []
        factor = area * 1e6 / self.clock.step
        for flow in (v for v in self.group.info.variables if v.kind == "output" and v.of):
            for depth, values in table:
                source = self.group.info.by_name[flow.of].name
                if depth.name.partition("__member_")[0].partition("__quantile_")[0] == source:
                    suffix = depth.name.removeprefix(source)
                    named = _named(flow, suffix, depth.published or not suffix)
                    found.append((named, np.zeros_like(values), values, factor))
        return found

    def _refresh(self) -> None:
        super()._refresh()
        m = self._members
        values = self.published.values.reshape(len(self._mean), -1, m)
        np.mean(values, axis=-1, out=self._mean)
        # The first member, where all are equal, so that the mean of equal ones is bit for bit theirs.
        same = (values == values[..., :1]).all(-1)
        np.copyto(self._mean, values[..., 0], where=same)
        shown = values[self._shown] if self._samples is None else self._of_bundle(values)
        self._each[...] = np.moveaxis(shown, -1, 0)
        ordered = np.sort(shown, axis=-1)
        low, high = ordered[..., self._below], ordered[..., self._above]
        self._ranked[...] = np.moveaxis(low + self._share * (high - low), -1, 0)
        for flow, depth, factor in self._flows:
            np.multiply(depth, factor, out=flow)
        if self._budget is not None:
            for name, total in self._totals.items():
                np.mean(getattr(self._budget, name).reshape(-1, m), axis=-1, out=total)

    def _of_bundle(self, values: FloatArray) -> FloatArray:
        """Return the members that the bundle has of each member, ``[output, catchment, member]``."""
        assert self._samples is not None  # noqa: S101  only then
        found = values[self._samples]  # [output, of bundle, catchment, member]
        return np.moveaxis(found, 1, 2).reshape(len(found), values.shape[1], -1)

    def water_total(self, name: str) -> FloatArray:
        """Return a total of the water budget, the mean over the members."""
        if self._budget is None:
            self.open_budget()
            self._refresh()
        return self._totals[name]

    # -- stepping and setting -----------------------------------------------------------

    def _step(self) -> None:
        if self.group.store is None:
            spread = np.repeat(self._given, self._members, axis=1)
            perturb = self.group.setup.perturbation
            assert perturb is not None  # noqa: S101  of every ensemble
            rows = self.group.table_rows(self.rows)
            self._values[...] = perturb.forcing(spread, rows, self.clock.now)
        super()._step()

    def _perturb_states(self) -> None:
        """Multiply the stores that the configuration names by a factor of each member."""
        group = self.group
        state, stores = group.state(self), [n for b in group.model.declaration.balances for n in b.stored]
        by_name = {name: [name] for name in stores}
        for name in stores:
            by_name.setdefault(name.partition(".")[2], []).append(name)
        unknown = [name for name in self._options.states if name not in by_name]
        if unknown:
            raise ConfigError(
                f"ensemble.states: the model has no store {', '.join(unknown)}; it has {', '.join(by_name)}"
            )
        spreads = {key: s for name, s in self._options.states.items() for key in by_name[name]}
        perturb = group.setup.perturbation
        assert perturb is not None  # noqa: S101  of every ensemble
        group.set_state(self, perturb.state(state, spreads, group.table_rows(self.rows)))

    def _set_attribute(self, variable: Variable, values: FloatArray) -> None:
        super()._set_attribute(variable, np.repeat(values, self._members))
        self._show_settable()

    def _show_settable(self) -> None:
        for name, values in self.settable.items():
            self.arrays[name][...] = values[:: self._members]

    def _set_state(self, variable: Variable, values: NDArray[np.generic]) -> None:
        """Set a state of every member, or of all members alike."""
        of_all = len(self.catchments) * self.about.by_name[variable.name].size
        if values.size * self._members == of_all:
            values = np.repeat(values.reshape(len(self.catchments), -1), self._members, axis=0)
        elif values.size != of_all:
            raise ValueShapeError(
                f"{variable.name!r} has {of_all} values, or {of_all // self._members} where its members "
                f"are alike; {values.size} came"
            )
        super()._set_state(replace(variable, size=variable.size // self._members), values)

    # -- saving -------------------------------------------------------------------------

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of these rows; it takes effect whole or not at all."""
        try:
            super().restore(snapshot)
        finally:
            self._show_settable()

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state, of these members or of the catchments without members.

        Members of the latter all begin from it, their stores perturbed.
        """
        saved = restart.decode(content, source)
        alone = saved.header.get("ids") == list(self.catchments)
        with self.group.lock:
            current = self.snapshot()
            if alone:
                saved = self._repeated(saved, current)
            restart.check(saved, current, self.model_step, self.group, source)
            self.restore(saved)
            if alone and self._options.states:
                self._perturb_states()
                if self._budget is not None:
                    self._start(self._budget)
                self._refresh()

    def _repeated(self, saved: Snapshot, current: Snapshot) -> Snapshot:
        """Return a snapshot of catchments as one of their members."""
        known, firsts = saved.header.get("attributes"), self.rows[:: self._members]
        alike = known == {
            name: sha256(self.group.default(name, firsts).tobytes())[:16] for name in self.group.attributes
        }
        header = {**saved.header, "ids": current.header["ids"]}
        if alike:  # else the check tells which differ
            header["attributes"] = current.header["attributes"]
        tensors = {n: torch.repeat_interleave(t, self._members, dim=0) for n, t in saved.tensors.items()}
        return Snapshot(header, tensors)


def _named(variable: Variable, suffix: str, published: bool) -> Variable:
    """Return a variable with a longer name; one that is not published has its name as its symbol."""
    name = variable.name + suffix
    return replace(variable, name=name, symbol=variable.symbol + suffix if published else name, of="")


def _samples(outputs: tuple[Variable, ...], group: Group) -> NDArray[np.int64]:
    """Return, of each published output, the outputs of the bundle's members of which it is the mean."""
    number, keys = {v.symbol: k for k, v in enumerate(outputs)}, group.model.members
    shown = [(k, v) for k, v in enumerate(outputs) if v.published]
    of = [[number.get(f"{key}.{v.symbol}", k) for key in keys] for k, v in shown]
    if len(keys) < 2 or all(row == [k] * len(keys) for row, (k, _) in zip(of, shown, strict=True)):
        raise ConfigError("ensemble.bundle_members: the bundle is not a mean of several process models")
    return np.array(of, dtype=np.int64)
