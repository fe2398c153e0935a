"""A trained model run over its data once more, and of it what a report draws: basin by basin, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import DAY, FloatArray, FloatingArray, IntArray, TimeArray
from ..io.timeseries import BasinDataset
from ..model.delta_model import DeltaModel
from ..report import Overview, Payload, SeriesPacker
from .data import tensors
from .ensemble import members

RAIN, EVAPORATION = "P", "ET"
#: Bytes before compression of hydrographs, of stores, and of parameters that change in time.
ROOM = {"flow": 5_000_000, "levels": 1_500_000, "daily": 1_000_000}
#: Pairs of a scatter by basin.
PAIRS = 365
#: Numbers of a block of basins, before networks and parallel components multiply them.
BLOCK = 2**18
#: Exceedance, percent, at which flow duration curves are drawn.
EXCEEDANCE = np.concatenate([[0.1, 0.2, 0.5], np.arange(1.0, 100.0), [99.5, 99.8, 99.9]])
#: First month of a water year, and the share of a year's days that must have been observed.
OCTOBER, OBSERVED = 10, 0.9


@dataclass
class Parameter:
    """A parameter of all basins: its mean in space of components, members and time, and their spread."""

    units: str
    meaning: str
    lower: float
    upper: float
    dynamic: bool = False
    mean: list[FloatingArray] = field(default_factory=list)
    low: list[FloatingArray] = field(default_factory=list)
    high: list[FloatingArray] = field(default_factory=list)


class Simulation:
    """What is kept of a simulation of some basins.

    Parameters
    ----------
    model : DeltaModel
    dataset : BasinDataset
    target : str
        Flux whose observations are compared.
    period : slice
        Steps that are judged: curves, seasons and pairs are of these.
    """

    def __init__(self, model: DeltaModel, dataset: BasinDataset, target: str, period: slice) -> None:
        self.model, self.dataset, self.target, self.period = model.eval(), dataset, target, period
        fluxes = {flux.name: flux for flux in model.declaration.fluxes}
        levels = [f for f in fluxes.values() if f.aggregation == "last"]
        # Of an ensemble the mean where there is one, not each member.
        self.stores = [f for f in levels if "." not in f.name] or levels
        self.water = next((b for b in model.declaration.balances if b.quantity == "water"), None)
        in_balance = () if self.water is None else (*self.water.out, *self.water.exchange)
        self.evaporation = EVAPORATION if EVAPORATION in fluxes else None
        named = (target, self.evaporation, *(f.name for f in self.stores), *in_balance)
        self.outputs = [*dict.fromkeys(name for name in named if name is not None)]
        # A network among them has no parameters.
        self.members = [key for key in members(model) if key in model.process_models]
        self.parameters: dict[str, Parameter] = {}
        self.by_basin: dict[str, list[FloatingArray]] = {}
        self.packers: dict[str, SeriesPacker] = {}
        count = max(1, BLOCK // len(dataset.times))
        for first in range(0, len(dataset.ids), count):
            self._add(dataset.columns(slice(first, first + count)))

    def _add(self, part: BasinDataset) -> None:
        model = self.model
        data = tensors(part, model.forcing_names, model.attribute_names, ())
        forcing = {name: values.contiguous() for name, values in data.forcing.items()}
        rows = len(part.ids)
        with torch.no_grad():
            constants = model.precompute(data.attributes, rows, dtype=torch.float32)
            before = model.init_state(rows, dtype=torch.float32)
            fluxes, after = model.run(forcing, constants, before, self.outputs)
            if self.water is not None:
                names = {"in": self.water.into, "out": self.water.out, "exchange": self.water.exchange}
                for kind, some in names.items():
                    source = forcing if kind == "in" else fluxes
                    for name in some:
                        self._keep(f"{kind} {name}", source[name].double().sum(0))
                change = model.storage(self.water, after, constants) - model.storage(
                    self.water, before, constants
                )
                self._keep("change", change)
                left = model.residual(self.water, _double(forcing), _double(fluxes), constants, before, after)
                self._keep("residual", left)
            parameters = model.row_parameters(forcing, data.attributes)
        daily = self._add_parameters(parameters)
        simulated = {name: values.numpy() for name, values in fluxes.items()}
        observed = part.target.get(self.target)
        flow = {"simulated": simulated[self.target]}
        if observed is not None:
            flow["observed"] = observed
        if RAIN in part.forcing:
            flow[RAIN] = part.forcing[RAIN]
        self._add_series("flow", flow)
        self._add_series("levels", {f.name: simulated[f.name] for f in self.stores})
        self._add_series("daily", daily)
        evaporation = None if self.evaporation is None else simulated[self.evaporation]
        self._compare(part, simulated[self.target], observed, evaporation)

    def _keep(self, name: str, values: Tensor | FloatingArray) -> None:
        array = values.numpy() if isinstance(values, Tensor) else values
        self.by_basin.setdefault(name, []).append(array)

    def _add_series(self, kind: str, values: Mapping[str, FloatingArray]) -> None:
        """Pack series of the next basins; the first ones tell which there are."""
        if kind not in self.packers:
            data = self.dataset
            how: dict[str, Overview] = {n: "mean" if n == RAIN else "envelope" for n in values}
            self.packers[kind] = SeriesPacker(
                data.times, data.step, len(data.ids), how, ROOM[kind], self.period.stop
            )
        self.packers[kind].append(values)

    def _add_parameters(self, found: Mapping[str, Tensor]) -> dict[str, FloatingArray]:
        """Keep means and spreads of parameters; return those that change in time, ``[time, basins]``."""
        models = self.model.process_models
        together: dict[str, list[Tensor]] = {}
        for name, values in found.items():
            key, _, symbol = name.partition(".")
            label = symbol if key in self.members or len(models) == 1 else name
            together.setdefault(label, []).append(values)
            declared = models[key].declaration.parameter(symbol)
            parameter = self.parameters.setdefault(
                label, Parameter(declared.units, declared.meaning, declared.lower, declared.upper)
            )
            parameter.lower = min(parameter.lower, declared.lower)
            parameter.upper = max(parameter.upper, declared.upper)
            parameter.dynamic |= values.dim() > 1 + len(declared.shape)
        series: dict[str, FloatingArray] = {}
        rows = slice(self.period.start, self.period.stop)
        for label, tensors_of in together.items():
            parameter = self.parameters[label]
            dims = 1 + len(models[_owner(found, label)].declaration.parameter(label.split(".")[-1]).shape)
            in_time = [v if v.dim() > dims else v[None] for v in tensors_of]
            in_time = [v.flatten(2).mean(2) if v.dim() > 2 else v for v in in_time]
            means = torch.stack([v[rows].mean(0) if len(v) > 1 else v[0] for v in in_time])
            parts = means if len(means) > 1 else _components(tensors_of[0], dims, rows)
            parameter.mean.append(means.mean(0).numpy())
            parameter.low.append(parts.amin(0).numpy())
            parameter.high.append(parts.amax(0).numpy())
            if parameter.dynamic:
                length = max(len(v) for v in in_time)
                mean = torch.stack([v.expand(length, -1) for v in in_time]).mean(0)
                series[label] = mean.numpy()
        return series

    def _compare(
        self,
        part: BasinDataset,
        simulated: FloatingArray,
        observed: FloatingArray | None,
        evaporation: FloatingArray | None,
    ) -> None:
        """Keep curves, seasons, pairs and years."""
        rows = self.period
        times = part.times[rows]
        known = np.ones_like(simulated[rows], bool) if observed is None else ~np.isnan(observed[rows])
        flows = {"simulated": np.where(known, simulated[rows], np.nan)}
        if observed is not None:
            flows["observed"] = observed[rows]
            picked = np.linspace(0, len(times) - 1, min(PAIRS, len(times))).round().astype(int)
            for name, values in flows.items():
                self._keep(f"pairs {name}", values[picked].T)
        shown: dict[str, FloatingArray] = dict(flows)
        if RAIN in part.forcing:
            shown[RAIN] = part.forcing[RAIN][rows]
        if evaporation is not None:
            shown[EVAPORATION] = evaporation[rows]
        for name, values in flows.items():
            self._keep(f"curve {name}", _quantiles(values, 100.0 - EXCEEDANCE).T)
        per_day = DAY / part.step
        months = times.astype("datetime64[M]").astype(int) % 12
        for name, values in shown.items():
            self._keep(f"month {name}", _by_class(values * per_day, months, np.arange(12)).T)
        years = water_years(part)
        whole = {name: values for name, values in (("simulated", simulated), ("observed", observed))}
        whole |= {RAIN: part.forcing.get(RAIN), EVAPORATION: evaporation}
        of_step = water_year(part.times)
        for name, series in whole.items():
            if series is not None:
                enough = OBSERVED if name == "observed" else 0.0
                self._keep(f"year {name}", _by_class(series * per_day, of_step, years, enough).T * 365.25)

    def pack(self, payload: Payload) -> dict[str, Any]:
        """Put all into a payload, and return what the page's text says of it."""
        packed = {kind: packer.pack(payload) for kind, packer in self.packers.items()}
        return {
            **packed,
            "about": {f.name: [f.units, f.meaning] for f in self.stores},
            "parameters": {
                label: {
                    "units": p.units,
                    "meaning": p.meaning,
                    "lower": p.lower,
                    "upper": p.upper,
                    "dynamic": p.dynamic,
                    **{k: payload.add(np.concatenate(getattr(p, k)), "f4") for k in ("mean", "low", "high")},
                }
                for label, p in self.parameters.items()
            },
            "spread": f"{len(self.members)} members" if len(self.members) > 1 else "parallel components",
            "exceedance": EXCEEDANCE.tolist(),
            "years": water_years(self.dataset).tolist(),
            "seconds": float(len(self.dataset.times) * self.dataset.step),
            "basin": {
                name: payload.add(np.concatenate(some), "f4" if name == "residual" else "f2")
                for name, some in self.by_basin.items()
            },
        }


def _owner(found: Mapping[str, Tensor], label: str) -> str:
    """Return the key of a process model that has a parameter."""
    return next(name.partition(".")[0] for name in found if label in (name, name.partition(".")[2]))


def _components(values: Tensor, dims: int, rows: slice) -> Tensor:
    """Return a parameter's mean in time by component, ``[components, rows]``."""
    mean = values[rows].mean(0) if values.dim() > dims else values
    return mean.flatten(1).T if mean.dim() > 1 else mean[None]


def _double(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: v.double() for name, v in values.items()}


def _quantiles(values: FloatingArray, percent: FloatArray) -> FloatArray:
    """Return percentiles ``[percent, basins]`` of what is known; NaN of a basin with nothing."""
    result = np.full((len(percent), values.shape[1]), np.nan)
    for basin, series in enumerate(values.T):
        known = series[~np.isnan(series)]
        if len(known):
            result[:, basin] = np.percentile(known, percent)
    return result


def _by_class(values: FloatingArray, labels: IntArray, classes: IntArray, enough: float = 0) -> FloatArray:
    """Return the mean of each class of steps, ``[classes, basins]``; NaN where too few are known."""
    result = np.full((len(classes), values.shape[1]), np.nan)
    for k, one in enumerate(classes):
        some = values[labels == one]
        known = ~np.isnan(some)
        count = known.sum(0)
        use = (count > 0) & (count >= enough * len(some))
        total = np.where(known, some, 0).sum(0, dtype=np.float64)
        result[k, use] = total[use] / count[use]
    return result


def water_year(times: TimeArray) -> IntArray:
    """Return the year in which the water year of each time ends; one begins in October."""
    months = times.astype("datetime64[M]").astype(np.int64)
    return (months + 12 - OCTOBER + 1) // 12 + 1970


def water_years(dataset: BasinDataset) -> IntArray:
    """Return the water years of which at least 360 days are in the data."""
    years, counts = np.unique(water_year(dataset.times), return_counts=True)
    return years[counts * dataset.step >= 360 * DAY]
