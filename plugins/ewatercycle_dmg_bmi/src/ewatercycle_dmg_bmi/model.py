"""The model that eWaterCycle lists: a bundle, one catchment, eWaterCycle's forcing."""

from __future__ import annotations

from collections.abc import ItemsView, Mapping
from pathlib import Path
from typing import Any

import bmipy
import numpy as np
import xarray as xr
import yaml
from ewatercycle.base.forcing import DefaultForcing
from ewatercycle.base.model import LocalModel
from ewatercycle.util import get_time
from pydantic import PrivateAttr

from .bmi import DatedBmi

#: Symbol in the models to the name and units of eWaterCycle's forcing; 1 kg m-2 of water is 1 mm.
FORCING = {"P": ("pr", "mm s-1"), "PET": ("evspsblpot", "mm s-1"), "T": ("tas", "K")}


class DmgBmi(LocalModel):
    """A trained differentiable model, stepped in this process.

    Examples
    --------
    See the package's page; ``setup`` takes

    - ``bundle``: folder of a trained model, or a shipped bundle's name;
    - ``attributes``: what its networks and equations need of the catchment, by name;
    - ``area_km2``: for flow in m3 s-1;
    - ``latitude``, ``longitude``: for :meth:`get_value_as_xarray`;
    - ``start_time``, ``end_time``: ISO dates within the forcing, which they default to.
    """

    forcing: DefaultForcing  # required here
    bmi_class: type[bmipy.Bmi] = DatedBmi
    _place: tuple[float, float] = PrivateAttr((np.nan, np.nan))
    _parameters: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def parameters(self) -> ItemsView[str, Any]:
        """What `setup` was told."""
        return self._parameters.items()

    def _make_cfg_file(
        self,
        *,
        bundle: str | Path,
        attributes: Mapping[str, float],
        area_km2: float | None = None,
        latitude: float = np.nan,
        longitude: float = np.nan,
        start_time: str | None = None,
        end_time: str | None = None,
        **more: Any,
    ) -> Path:
        """Write forcing as plain arrays and the configuration; `more` are keys of dmg_bmi's configuration."""
        start = get_time(start_time or self.forcing.start_time).replace(tzinfo=None)
        end = get_time(end_time or self.forcing.end_time).replace(tzinfo=None)
        self._parameters = {"bundle": str(bundle), "attributes": dict(attributes), "area_km2": area_km2}
        self._place = (latitude, longitude)
        series = {symbol: self._series(name, start, end) for symbol, (name, _) in FORCING.items()}
        folder = self._cfg_dir / "forcing"
        folder.mkdir(exist_ok=True)
        for symbol, values in series.items():
            np.save(folder / f"{symbol}.npy", values.to_numpy().astype(float).reshape(-1, 1))
        times = series["P"]["time"].to_numpy()
        step = float((times[1] - times[0]) / np.timedelta64(1, "s"))
        first = times[0].astype("datetime64[D]")  # Caravan's days, whatever their hour
        index = {
            "ids": ["catchment"],
            "start_time": str(first),
            "step": step,
            "variables": {
                symbol: {"file": f"{symbol}.npy", "units": unit} for symbol, (_, unit) in FORCING.items()
            },
        }
        (folder / "forcing.yaml").write_text(yaml.safe_dump(index), encoding="utf-8")
        given = {name: float(value) for name, value in attributes.items()}
        catchments: dict[str, Any] = {"ids": ["catchment"], "attributes": given}
        if area_km2 is not None:
            catchments["area"] = float(area_km2)
        name = str(Path(bundle).resolve()) if Path(bundle).exists() else str(bundle)
        config = {
            "bundle": name,
            "catchments": catchments,
            "start_time": str(first),
            "end_time": float(step * len(times)),
            "forcing": "forcing",
            **more,
        }
        path = self._cfg_dir / "dmg_bmi.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def _series(self, name: str, start: Any, end: Any) -> xr.DataArray:
        if name not in self.forcing.filenames:
            present = ", ".join(self.forcing.filenames)
            raise ValueError(f"the model needs the forcing {name}; {self.forcing.directory} has {present}")
        with xr.open_dataset(self.forcing.directory / self.forcing.filenames[name]) as file:
            return file[name].sel(time=slice(start, end)).squeeze().load()

    def get_latlon_grid(self, name: str) -> tuple[Any, Any, Any]:
        """Return latitude and longitude that `setup` was given, and the shape of one catchment."""
        self._bmi.get_var_grid(name)
        latitude, longitude = self._place
        return np.array([latitude]), np.array([longitude]), (1, 1)
