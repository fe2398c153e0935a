"""A component driven through its BMI over a file of forcing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray, FloatingArray
from ..bmi import DeltaModelBmi
from ..errors import ConfigError, ForcingError, alternatives
from ..io import netcdf
from ..io.atomic import replacing_together
from ..io.timeseries import BasinDataset
from ..io.units import conversion, is_rate_of
from ..model.bundle import BundleInfo
from ..model.variables import Variable
from ..plotting import hydrographs as plots
from ..progress import progress
from ..runtime.catchments import CatchmentTable
from ..runtime.config import ComponentAssimilation, RunConfig, utc
from ..runtime.forcing import observations, series
from ..runtime.observed_window import OBSERVATIONS

log = logging.getLogger("dmg_bmi")
BLOCK = 1000


@dataclass(frozen=True)
class Result:
    """Files of a run; `picture` is None where none is drawn."""

    output: Path
    picture: Path | None


def drive(
    config_path: Path,
    forcing_path: Path,
    folder: Path,
    drawn: str | None = None,
    picture: bool = True,
    observations_path: Path | None = None,
) -> Result:
    """Step a component over a forcing file and write its outputs, and a hydrograph if asked for.

    With observations its states are brought in line with them as they come.

    Raises
    ------
    DmgBmiError
        No output file is left then.
    """
    if picture:
        plots.pyplot()  # an error of a missing package comes before the work
    config = RunConfig.read(config_path)
    forcing = series.read(forcing_path)
    bmi, observed = DeltaModelBmi(), dict[str, FloatArray]()
    if observations_path is not None:
        bmi, observed = _assimilating(config, forcing, observations_path)
    bmi.initialize(str(config_path))
    component = bmi.component
    ids, info = component.ids, component.info
    if not bmi.get_input_item_count():
        raise ConfigError(f"{config_path}: the component reads stored forcing, so --forcing has no use")
    if drawn is not None and drawn not in ids:
        raise ConfigError(f"--catchment: no catchment {drawn!r}; {alternatives(drawn, ids)}")
    records = _records(forcing, config, bmi, str(forcing_path))
    inputs = {
        n: series.model_input(forcing, component.about.by_name[n], ids, str(forcing_path))
        for n in bmi.get_input_var_names()
    } | observed
    outputs = [component.about.by_name[name] for name in bmi.get_output_var_names()]
    columns = {v.symbol: netcdf.Column(v.units, v.meaning, v.name, v.aggregation) for v in outputs}
    result = Result(folder / "output.nc", folder / "hydrograph.png" if picture and "Q" in columns else None)
    row = ids.index(drawn) if drawn else 0
    shown: list[FloatArray] = []
    about = {"title": f"{info.name} stepped through BMI", "bundle_fingerprint": info.fingerprint}
    # Picture and numbers are of one run; a run takes long, so whoever comes second is told at once.
    with replacing_together([path for path in (result.picture, result.output) if path]) as made:
        with netcdf.Writer(made[-1], ids, columns, bmi.get_time_step(), **about) as writer:
            for begin, block in _blocks(bmi, inputs, outputs, records):
                writer.append(forcing.times[begin : min(begin + BLOCK, records.stop)], block)
                if result.picture:
                    shown.append(block["Q"][:, row])
            bmi.finalize()
        if result.picture:
            _draw(made[0], forcing, records, np.concatenate(shown), ids[row], info, str(forcing_path))
    return result


def _assimilating(
    config: RunConfig, forcing: BasinDataset, path: Path
) -> tuple[DeltaModelBmi, dict[str, FloatArray]]:
    """Return a component that analyses observations of a file, and what to set of them at each record.

    Without options in the configuration those by default count, with the mean of the file as typical flow.
    """
    table = CatchmentTable.load(config.catchments, ())
    depth = observations.read(path, table, forcing.times, forcing.step)
    known = np.isfinite(depth)
    log.info("%s: %d observations, %d missing", path, known.sum(), depth.size - known.sum())
    options = config.assimilation
    if options is None:
        step = float(BundleInfo.read(config.bundle).load_model().step)
        count = known.sum(0)
        means = np.where(known, depth, 0.0).sum(0) / np.maximum(count, 1) * (step / forcing.step)
        if not (means > 0).any():
            raise ForcingError(f"{path}: has no flow in the time of the forcing")
        means = np.where(means > 0, means, means[means > 0].mean())
        options = ComponentAssimilation(mean_flow=means.tolist())

    class Configuration(RunConfig):
        @classmethod
        def read(cls, path: str | Path) -> RunConfig:
            return replace(RunConfig.read(path), assimilation=options)

    class Assimilating(DeltaModelBmi):
        configuration = Configuration

    return Assimilating(), {OBSERVATIONS[0].name: depth / 1000.0}


def _blocks(
    bmi: DeltaModelBmi, inputs: Mapping[str, FloatArray], outputs: list[Variable], records: range
) -> Iterator[tuple[int, dict[str, FloatArray]]]:
    """Step through all records; yield the outputs in blocks that fit in memory."""
    size = bmi.component.size
    arrays = {v.symbol: bmi.get_value_ptr(v.name) for v in outputs}
    with progress(len(records), "run", "step") as bar:
        for begin in records[::BLOCK]:
            steps = min(BLOCK, records.stop - begin)
            block = {symbol: np.empty((steps, size)) for symbol in arrays}
            for k in range(steps):
                for name, values in inputs.items():
                    bmi.set_value(name, values[begin + k])
                bmi.update()
                for symbol, array in arrays.items():
                    block[symbol][k] = array
            bar.update(steps)
            yield begin, block


def _records(forcing: BasinDataset, config: RunConfig, bmi: DeltaModelBmi, path: str) -> range:
    """Return which records of the file the run takes."""
    if forcing.step != bmi.get_time_step():
        raise ForcingError(
            f"{path}: its step is {forcing.step:g} s, that of the component {bmi.get_time_step():g} s; "
            "set time_step in the config, or give forcing of that step"
        )
    first, stop = 0, len(forcing.times)
    if config.start_time is not None:
        start = np.datetime64(utc(config.start_time).replace(tzinfo=None), "s")
        matches = np.flatnonzero(forcing.times == start)
        if not matches.size:
            raise ForcingError(f"{path}: has no record at start_time {start}; it begins {forcing.times[0]}")
        first = int(matches[0])
    if config.end_seconds is not None:
        end = first + int(config.end_seconds // forcing.step)
        if end > stop:
            raise ForcingError(f"{path}: ends {forcing.times[-1]}, before end_time {config.end_time}")
        stop = end
    if stop <= first:
        raise ConfigError(f"end_time {config.end_time}: the run has no whole step of {forcing.step:g} s")
    return range(first, stop)


def _draw(
    path: Path,
    forcing: BasinDataset,
    records: range,
    runoff: FloatArray,
    catchment: str,
    info: BundleInfo,
    source: str,
) -> None:
    """Draw the hydrograph, as daily rates."""
    rain = info.by_name.get("P")
    symbol = None if rain is None else series.series_of(forcing, rain, source)
    column = forcing.ids.index(catchment)
    per_day = 86400.0 / forcing.step
    part = slice(records.start, records.stop)

    def rate(series: Mapping[str, FloatingArray], symbol: str | None) -> Any:
        if symbol is None or symbol not in series:
            return None
        units = forcing.units[symbol]
        scale, _ = conversion(units, "mm d-1" if is_rate_of(units, "mm") else "mm")
        return series[symbol][part, column] * (scale if is_rate_of(units, "mm") else scale * per_day)

    plots.hydrograph(
        path,
        forcing.times[part],
        runoff * 1000.0 * per_day,
        precipitation=rate(forcing.forcing, symbol),
        observed=rate(forcing.target, "Q"),
        title=f"{info.name}: catchment {catchment}",
    )
