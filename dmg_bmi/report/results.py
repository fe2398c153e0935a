"""What a coupled run or a run of NextGen has written of divides and rivers, by variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import HOUR, FloatingArray, TimeArray
from ..errors import ConfigError, NextGenError
from ..hydrofabric.reader import Hydrofabric
from ..io import netcdf
from ..io.cf_time import parse_dates
from ..io.csv_table import CsvTable
from ..io.files import read_text

#: Where the outputs of a run of NextGen are.
NGEN, TROUTE = Path("outputs", "ngen"), Path("outputs", "troute")


@dataclass(frozen=True)
class Variable:
    """A series of divides or of reaches, ``values[time, items]``."""

    name: str
    units: str
    meaning: str
    of: str
    ids: tuple[str, ...]
    times: TimeArray
    step: float
    values: FloatingArray


def read_results(folder: Path, fabric: Hydrofabric) -> list[Variable]:
    """Read whatever in a folder belongs to the divides or reaches of a hydrofabric.

    Parameters
    ----------
    folder : Path
        Of ``dmg-bmi couple`` (or demo), or the run folder of `ngen`.
    fabric : Hydrofabric

    Raises
    ------
    ConfigError
        If nothing in it does.
    """
    found = [*_files(folder, fabric)]
    if (folder / NGEN).is_dir():
        found += [*_catchments(folder / NGEN, fabric), *_nexuses(folder / NGEN, fabric)]
    if (folder / TROUTE).is_dir():
        found += _routed(folder / TROUTE, fabric)
    if not found:
        raise ConfigError(
            f"{folder}: holds no NetCDF of dmg-bmi couple and no outputs of ngen for the divides or "
            f"flowpaths of {fabric.path}; give the folder of a finished run, and its --hydrofabric"
        )
    return found


def _files(folder: Path, fabric: Hydrofabric) -> Iterator[Variable]:
    """Yield the variables of NetCDF files of this package's layout."""
    sets = {"divide": {*fabric.divides.ids}, "reach": {*fabric.network.ids}}
    for path in sorted(folder.glob("*.nc")):
        dataset = netcdf.read(path)
        for of, known in sets.items():
            if known.issuperset(dataset.ids):
                for name, values in (*dataset.forcing.items(), *dataset.target.items()):
                    units = dataset.units.get(name, "")
                    ids, times = dataset.ids, dataset.times
                    yield Variable(name, units, f"of {path.stem}", of, ids, times, dataset.step, values)


def _catchments(folder: Path, fabric: Hydrofabric) -> Iterator[Variable]:
    """Yield what `ngen` wrote of catchments: ``cat-*.csv``, or ``cat_output.csv`` of all."""
    tables: dict[str, Mapping[str, Sequence[str]]] = {}
    if (folder / "cat_output.csv").exists():
        grouped = CsvTable.read(folder / "cat_output.csv", NextGenError).columns
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(grouped["catchment_id"]):
            rows.setdefault(name, []).append(row)
        tables = {i: {c: [v[k] for k in some] for c, v in grouped.items()} for i, some in rows.items()}
    else:
        for name in fabric.divides.ids:
            if (folder / f"{name}.csv").exists():
                tables[name] = CsvTable.read(folder / f"{name}.csv", NextGenError).columns
    if not tables:
        return
    ids = tuple(name for name in fabric.divides.ids if name in tables)
    first = tables[ids[0]]
    times = parse_dates(first["Time"], range(2, 2 + len(first["Time"])), str(folder), NextGenError)
    for column in [name for name in first if name not in ("catchment_id", "Time Step", "Time")]:
        try:
            values = np.array([[float(v) for v in tables[i][column]] for i in ids]).T
        except (ValueError, KeyError) as problem:
            raise NextGenError(
                f"{folder}: column {column!r} differs between catchments: {problem}"
            ) from problem
        yield Variable(column, "", "of catchments in ngen", "divide", ids, times, _step(times), values)


def _nexuses(folder: Path, fabric: Hydrofabric) -> Iterator[Variable]:
    """Yield what `ngen` hands over at nexuses, shown on the reaches that end there."""
    values, ids, times = [], [], None
    for nexus, reach in zip(fabric.divides.toid, fabric.divides.reach.tolist(), strict=True):
        path = folder / f"{nexus}_output.csv"
        if reach < 0 or not path.exists():
            continue
        rows = [line.split(",") for line in read_text(path, NextGenError).splitlines() if line.strip()]
        try:
            values.append([float(row[2]) for row in rows])
            times = parse_dates(
                [row[1].strip() for row in rows], range(1, 1 + len(rows)), str(path), NextGenError
            )
        except (ValueError, IndexError) as problem:
            raise NextGenError(
                f"{path}: is not what ngen writes of a nexus (step, time, m3 s-1): {problem}"
            ) from problem
        ids.append(fabric.network.ids[reach])
    if times is not None:
        meaning = "of all catchments that drain to the nexus at its end, not routed"
        table = np.array(values).T
        yield Variable("nexus inflow", "m3 s-1", meaning, "reach", tuple(ids), times, _step(times), table)


def _routed(folder: Path, fabric: Hydrofabric) -> Iterator[Variable]:
    """Yield what t-route wrote: ``feature_id``, the number of a flowpath, by time."""
    import netCDF4

    reach_of = {int(number[1]): name for name in fabric.network.ids if (number := re.search(r"(\d+)$", name))}
    for path in sorted(folder.glob("*.nc")):
        with netCDF4.Dataset(path) as data:
            if "feature_id" not in data.variables or "time" not in data.variables:
                continue
            features = [int(v) for v in data["feature_id"][:]]
            rows = [k for k, number in enumerate(features) if number in reach_of]
            clock = data["time"]
            times = netCDF4.num2date(clock[:], clock.units, only_use_cftime_datetimes=False)
            stamps = np.array(times, dtype="datetime64[s]")
            for name, variable in data.variables.items():
                if {*variable.dimensions} == {"feature_id", "time"} and rows and len(stamps) > 1:
                    values: Any = np.ma.filled(np.ma.asarray(variable[:]).astype(float), np.nan)
                    values = values if variable.dimensions[0] == "time" else values.T
                    ids = tuple(reach_of[features[k]] for k in rows)
                    units = str(getattr(variable, "units", ""))
                    meaning = "routed by t-route"
                    yield Variable(name, units, meaning, "reach", ids, stamps, _step(stamps), values[:, rows])


def _step(times: TimeArray) -> float:
    return float((times[1] - times[0]) / np.timedelta64(1, "s")) if len(times) > 1 else HOUR
