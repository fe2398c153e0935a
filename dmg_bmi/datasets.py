"""Simulations, parameters and sensitivities of a bundle as xarray Datasets, for those whose data are one.

    ds = xarray.open_dataset("basins.nc")           # dimensions time and catchment, units in attrs
    flow = simulate("my_bundle", ds).Q

The layout is that of :mod:`dmg_bmi.io.netcdf`: series ``(time, catchment)``, attributes ``(catchment)``,
observations marked by ``role = "target"``. xarray (extra `xarray`) is imported when a function runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .arrays import FloatArray
from .errors import ConfigError, alternatives
from .io.timeseries import BasinDataset
from .io.xarray_series import SOURCE, coordinates, from_xarray, require, to_xarray
from .model.bundle import Bundle, BundleInfo
from .model.delta_model import DeltaModel
from .model.training_range import check_trained
from .model.variables import Variable
from .runtime.catchments import attributes_of, check_attribute
from .runtime.forcing.series import model_inputs

if TYPE_CHECKING:
    import xarray

__all__ = ["from_xarray", "parameters", "sensitivity", "simulate", "to_xarray"]
#: Numbers of a series that are computed at once, for the memory of their networks.
BLOCK = 2**20


def simulate(
    bundle: str | Path | Bundle, dataset: xarray.Dataset, outputs: Sequence[str] | None = None
) -> xarray.Dataset:
    """Run a bundle over a Dataset from its initial state, in one forward.

    The numbers are those of ``dmg-bmi run`` over the same forcing, within rounding, by the model's step.
    It changes nothing, and catchments do not see each other: ``dataset.map_blocks`` may share them out.

    Parameters
    ----------
    bundle : path, shipped name or Bundle
    dataset : xarray.Dataset
        See :func:`from_xarray`; forcing by symbol or standard name in any units, attributes by name.
    outputs : sequence of str, optional
        Symbols; by default those that a component publishes.

    Returns
    -------
    xarray.Dataset
        Outputs ``(time, catchment)`` by symbol, in the units of the BMI.

    Raises
    ------
    DmgBmiError
        If an input is absent, has a gap or cannot be, or an output does not exist.
    """
    given = _Given(bundle, from_xarray(dataset))
    known = {v.symbol: v for v in given.outputs}
    for name in outputs or ():
        if name not in known:
            raise ConfigError(f"no output {name!r}; {alternatives(name, [*known])}")
    chosen = [known[name] for name in outputs or ()] or [v for v in given.outputs if v.published]
    parts: list[dict[str, FloatArray]] = []
    with torch.inference_mode():
        for forcing, attributes in given.blocks():
            fluxes, _ = given.model(forcing, attributes, outputs=[v.symbol for v in chosen])
            parts.append({v.symbol: _published(v, fluxes[v.symbol]) for v in chosen})
    return given.dataset(
        {
            v.symbol: (
                ("time", "catchment"),
                np.concatenate([part[v.symbol] for part in parts], axis=1),
                {"units": v.units, "long_name": v.meaning, "csdms_standard_name": v.name},
            )
            for v in chosen
        }
    )


def parameters(bundle: str | Path | Bundle, dataset: xarray.Dataset) -> xarray.Dataset:
    """Return the parameters that the networks of a bundle supply.

    Returns
    -------
    xarray.Dataset
        By name (``phy.BETA``): ``(catchment, ...)`` where they come from attributes alone, else
        ``(time, catchment, ...)``; what follows are the parameter's own dimensions, such as its components.
    """
    given = _Given(bundle, from_xarray(dataset))
    parts = []
    with torch.inference_mode():
        for forcing, attributes in given.blocks():
            parts.append(given.model.row_parameters(forcing, attributes))
    series = {}
    for name in parts[0]:
        is_series = parts[0][name].ndim > 1 + _dimensions(given.model, name)
        values = torch.cat([part[name] for part in parts], dim=int(is_series)).numpy()
        leading = ("time", "catchment") if is_series else ("catchment",)
        own = tuple(f"{name}_{k}" for k in range(values.ndim - len(leading)))
        series[name] = (leading + own, values, {"long_name": f"parameter {name}"})
    return given.dataset(series)


def sensitivity(
    bundle: str | Path | Bundle, dataset: xarray.Dataset, of: str = "Q", to: Sequence[str] = ("P", "T")
) -> xarray.Dataset:
    """Return by how much the mean of an output changes with each value of its inputs.

    Parameters
    ----------
    bundle, dataset
        See :func:`simulate`.
    of : str
        An output.
    to : sequence of str
        Forcing, by symbol, and attributes, by name.

    Returns
    -------
    xarray.Dataset
        ``d mean(of) / d to``, in the model's units: ``(time, catchment)`` of forcing, ``(catchment)`` of
        attributes.
    """
    given = _Given(bundle, from_xarray(dataset))
    symbols = [v.symbol for v in given.outputs]
    if of not in symbols:
        raise ConfigError(f"no output {of!r}; {alternatives(of, symbols)}")
    parts: list[dict[str, FloatArray]] = []
    for forcing, attributes in given.blocks():
        inputs = {**forcing, **attributes}
        for name in to:
            if name not in inputs:
                raise ConfigError(f"no input {name!r}; {alternatives(name, [*inputs])}")
        leaves = {name: inputs[name].clone().requires_grad_() for name in to}
        fluxes, _ = given.model(
            {name: leaves.get(name, value) for name, value in forcing.items()},
            {name: leaves.get(name, value) for name, value in attributes.items()},
            outputs=[of],
        )
        mean = fluxes[of].mean(0).sum()  # catchments do not see each other
        gradients = torch.autograd.grad(mean, [*leaves.values()], allow_unused=True)
        parts.append(
            {
                name: (torch.zeros_like(leaf) if gradient is None else gradient).numpy()
                for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
            }
        )
    return given.dataset(
        {
            name: (
                ("time", "catchment")[-parts[0][name].ndim :],
                np.concatenate([part[name] for part in parts], axis=-1),
                {"long_name": f"change of the mean of {of} with {name}"},
            )
            for name in to
        }
    )


class _Given:
    """A model and what it takes of a dataset, in its own units, catchment block by catchment block."""

    def __init__(self, bundle: str | Path | Bundle, data: BasinDataset) -> None:
        info = bundle.in_memory() if isinstance(bundle, Bundle) else BundleInfo.read(bundle)
        self.data = data
        self.model: DeltaModel = info.load_model().eval().requires_grad_(False)
        fluxes = {f.name for f in self.model.declaration.fluxes}
        self.outputs = [v for v in info.variables if v.kind == "output" and v.symbol in fluxes]
        self._attributes = _attributes(info, self.model, data)
        self._inputs = [v for v in info.variables if v.kind == "input"]

    def blocks(self) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Yield forcing and attributes of some catchments at a time."""
        count = max(1, BLOCK // len(self.data.times))
        for first in range(0, len(self.data.ids), count):
            part = self.data.columns(slice(first, first + count))
            yield (
                model_inputs(part, self._inputs, part.ids, SOURCE),
                {name: values[first : first + count] for name, values in self._attributes.items()},
            )

    def dataset(self, series: Mapping[str, Any]) -> xarray.Dataset:
        """Return series as a Dataset with the coordinates of what was given."""
        return require().Dataset(dict(series), coordinates(self.data))


def _attributes(info: BundleInfo, model: DeltaModel, data: BasinDataset) -> dict[str, Tensor]:
    """Return the attributes that a model uses, in the units that it was trained with."""
    found = attributes_of(info.variables, data.attributes, data.units, SOURCE)
    for v in (v for v in info.variables if v.kind == "attribute"):
        check_attribute(v.symbol, found[v.symbol], data.ids, v.lower, v.upper)
    check_trained(model.statistics, found, data.ids, set())
    return {name: torch.from_numpy(values) for name, values in found.items()}


def _published(variable: Variable, values: Tensor) -> FloatArray:
    scale, offset = variable.from_model()
    published: FloatArray = values.to(torch.float64).numpy() * scale + offset
    return published


def _dimensions(model: DeltaModel, name: str) -> int:
    """Return how many dimensions of its own a parameter has."""
    key, _, parameter = name.partition(".")
    declared = model.process_models[key].declaration.parameters
    return next(len(p.shape) for p in declared if p.name == parameter)
