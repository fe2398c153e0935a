"""Configurations and files of ``dmg-bmi forecast``, made and read."""

from dataclasses import replace
from itertools import count

import netCDF4
import numpy as np
import yaml

from dmg_bmi.forecast.config import ForecastConfig
from dmg_bmi.forecast.operation import forecast
from dmg_bmi.io import forecast_netcdf, netcdf
from dmg_bmi.synthetic.basins import ATTRIBUTES, generate

DAY = np.timedelta64(1, "D")
WINDOW = {"window": 20, "ages": [1, 5]}
FIRST, LAST = "2001-03-01", "2001-04-09"


def make_dataset():
    """Two years of three basins from 2000-01-01 on, with gaps."""
    basins = generate(3, 2, seed=4)
    flow = 1.3 * basins.target["Q"] + 0.1
    flow[100:103] = np.nan
    times = basins.times + (np.datetime64("2000-01-01", "s") - basins.times[0])
    return replace(basins, times=times, target={"Q": flow})


def make_config(folder, dataset, bundle="demo_daily", **more):
    """Files of measured weather and observations, and a maker of configurations."""
    netcdf.write(folder / "measured.nc", dataset)
    attributes = {n: dataset.attributes[n].tolist() for n in ATTRIBUTES if not n.startswith("gauge")}
    catchments = {"ids": [*dataset.ids], "area": [10.0, 20.0, 30.0], "attributes": attributes}
    run = {"bundle": bundle, "catchments": catchments, "start_time": "2000-01-01"}
    for name, of in (("run", bundle), ("plain", "demo_daily")):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(run | {"bundle": of}))
    number = count()

    def config(output, **keys):
        path = folder / f"forecast-{next(number)}.yaml"
        content = {
            "run": "run.yaml",
            "forcing": "measured.nc",
            "observations": "measured.nc",
            "first": FIRST,
            "last": LAST,
            "leads": 4,
            "per_file": 12,
            "mean_flow": 1.0,
            "assimilation": WINDOW,
            "output": str(output),
        }
        content = {k: v for k, v in (content | more | keys).items() if v is not None}
        path.write_text(yaml.safe_dump(content))
        return path

    config.folder = folder
    return config


def run(path):
    return forecast(ForecastConfig.read(path))


def values(paths, name="Q"):
    """All forecasts ``[issues, leads, realizations, catchments]``."""
    parts = []
    for path in paths:
        with netCDF4.Dataset(path) as data:
            parts.append(np.ma.filled(data[name][:], np.nan))
    return np.concatenate(parts)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def weather(dataset, realizations, leads=6, first=FIRST, last="2001-03-10", seed=0):
    """Forecast weather ``[issues, leads, realizations, catchments]``: the first that which came."""
    issued = np.arange(np.datetime64(first, "s"), np.datetime64(last, "s") + DAY, DAY)
    at = np.searchsorted(dataset.times, issued)[:, None] + np.arange(leads)
    rng = np.random.default_rng(seed)
    factor = np.concatenate([[1.0], rng.uniform(0.2, 3.0, realizations - 1)])[:, None]
    series = {}
    for name, of in dataset.forcing.items():
        known = np.float64(of)[at][:, :, None]
        series[name] = np.broadcast_to(known, (*known.shape[:2], realizations, known.shape[3])).copy()
    series["P"] = series["P"] * factor
    return issued, series


def write_weather(path, dataset, issued, series, axes=forecast_netcdf.AXES):
    with netCDF4.Dataset(path, "w") as data:
        shape = dict(zip(forecast_netcdf.AXES, series["P"].shape, strict=True))
        for axis in axes:
            data.createDimension(axis, shape[axis])
        data.createVariable("catchment", str, ("catchment",))[:] = np.array(dataset.ids, dtype=object)
        reference = data.createVariable("reference_time", "f8", ("reference_time",))
        reference.units = "hours since 2000-01-01"
        reference[:] = (issued - np.datetime64("2000-01-01", "s")).astype(float) / 3600
        lead = data.createVariable("lead_time", "f8", ("lead_time",))
        lead.units = "d"
        lead[:] = 1 + np.arange(shape["lead_time"])
        for name, array in series.items():
            variable = data.createVariable(name, "f8", axes)
            variable.units = dataset.units[name]
            order = [forecast_netcdf.AXES.index(axis) for axis in axes]
            variable[:] = (
                array.transpose(order)
                if len(axes) == 4
                else array[:, :, 0].transpose(
                    [("reference_time", "lead_time", "catchment").index(a) for a in axes]
                )
            )
