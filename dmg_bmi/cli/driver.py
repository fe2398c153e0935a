"""A component driven through its BMI over a file of forcing, or over the forcing that it stores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import __version__
from ..arrays import FloatArray, TimeArray
from ..bmi import DeltaModelBmi
from ..errors import ConfigError, ForcingError, alternatives
from ..io import netcdf
from ..io.atomic import replacing_together
from ..io.cf_time import parse_date
from ..io.files import sha256
from ..model.bundle import BundleInfo
from ..model.variables import Variable
from ..plotting import hydrographs as plots
from ..progress import progress
from ..runtime import restart
from ..runtime.catchments import CatchmentTable
from ..runtime.config import ComponentAssimilation, RunConfig
from ..runtime.forcing import observations, series
from ..runtime.observed_window import OBSERVATIONS
from ..runtime.unfinished_run import Layout, UnfinishedRun
from .run_records import RunRecords

log = logging.getLogger("dmg_bmi")
Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Result:
    """Files of a run; `picture` is None where none is drawn."""

    output: Path
    picture: Path | None


@dataclass(frozen=True)
class Wanted:
    """What is kept of a run, and of which days.

    Parameters
    ----------
    outputs : tuple of str
        Names or symbols; all where empty.
    precision : {"float64", "float32"}
        Of the file.
    start, end : str, optional
        First and last day, instead of what the configuration says.
    """

    outputs: tuple[str, ...] = ()
    precision: Precision = "float64"
    start: str | None = None
    end: str | None = None


def drive(
    config_path: Path,
    forcing_path: Path | None,
    folder: Path,
    drawn: str | None = None,
    picture: bool = True,
    observations_path: Path | None = None,
    wanted: Wanted = Wanted(),
) -> Result:
    """Step a component over a forcing file and write its outputs, and a hydrograph if asked for.

    Without a file it steps over the forcing that its configuration stores. With observations its states are
    brought in line with them as they come. Forcing is read, and records are kept on disk, block by block; a
    run that was killed goes on from the last minute if it is started in the same way.

    Raises
    ------
    DmgBmiError
        No output file is left then.
    """
    if picture:
        plots.pyplot()  # an error of a missing package comes before the work
    config = _within_days(RunConfig.read(config_path), wanted)
    with ExitStack() as stack:
        forcing = None if forcing_path is None else stack.enter_context(series.OpenSeries(forcing_path))
        observed: dict[str, FloatArray] = {}
        if observations_path is not None:
            if forcing is None:
                raise ConfigError(
                    "--assimilate requires --forcing, whose records the observations are put to"
                )
            config, observed = _assimilating(config, forcing, observations_path)
        bmi = _component_of(config)
        bmi.initialize(str(config_path))
        records = RunRecords(bmi, config, forcing, str(forcing_path or config_path), observed)
        outputs = _chosen(bmi, wanted.outputs)
        ids = bmi.component.catchments
        if drawn is not None and drawn not in ids:
            raise ConfigError(f"--catchment: no catchment {drawn!r}; {alternatives(drawn, ids)}")
        draws = picture and any(v.symbol == "Q" for v in outputs)
        result = Result(folder / "output.nc", folder / "hydrograph.png" if draws else None)
        sources = [path for path in (forcing_path, observations_path) if path]
        identity = _identity(bmi, config, sources, records)
        length = netcdf.block_length(len(ids))
        layout = Layout([v.symbol for v in outputs], len(ids), wanted.precision, length)
        places = [path for path in (result.picture, result.output) if path]  # of one run
        with UnfinishedRun(folder, identity, layout) as run, replacing_together(places) as made:
            _step(bmi, records, outputs, run)
            row, info = ids.index(drawn) if drawn else 0, bmi.component.info
            shown = _write(made[-1], bmi, outputs, records.times, run, row)
            bmi.finalize()
            if result.picture:
                _draw(made[0], records, shown, ids[row], info)
    return result


def _within_days(config: RunConfig, wanted: Wanted) -> RunConfig:
    """Return the configuration of the days that are wanted."""
    if wanted.start:
        day = parse_date(wanted.start, "--start", ConfigError).astype("datetime64[D]")
        config = replace(config, start_time=day.astype("datetime64[s]").item())
    if wanted.end:
        if config.start_time is None:
            raise ConfigError("--end: the configuration has no start_time; give --start, too")
        day = parse_date(wanted.end, "--end", ConfigError).astype("datetime64[D]") + 1
        config = replace(config, end_time=day.astype("datetime64[s]").item())
    return config


def _component_of(config: RunConfig) -> DeltaModelBmi:
    """Return a component that is initialized by this configuration, whatever its file says."""

    class Configuration(RunConfig):
        @classmethod
        def read(cls, path: str | Path) -> RunConfig:
            return config

    class Driven(DeltaModelBmi):
        configuration = Configuration

    return Driven()


def _assimilating(
    config: RunConfig, forcing: series.OpenSeries, path: Path
) -> tuple[RunConfig, dict[str, FloatArray]]:
    """Return a configuration that analyses observations of a file, and what to set of them at each record.

    Without options in the configuration those by default count, with the mean of the file as typical flow.
    """
    info = BundleInfo.read(config.bundle)
    table = CatchmentTable.load(config.catchments, [v.name for v in info.variables if v.kind == "attribute"])
    depth = observations.read(path, table, forcing.times, forcing.step)
    known = np.isfinite(depth)
    log.info("%s: %d observations, %d missing", path, known.sum(), depth.size - known.sum())
    options = config.assimilation
    if options is None:
        step = float(info.load_model().step)
        count = known.sum(0)
        means = np.where(known, depth, 0.0).sum(0) / np.maximum(count, 1) * (step / forcing.step)
        if not (means > 0).any():
            raise ForcingError(f"{path}: has no flow in the time of the forcing")
        means = np.where(means > 0, means, means[means > 0].mean())
        options = ComponentAssimilation(mean_flow=means.tolist())
    return replace(config, assimilation=options), {OBSERVATIONS[0].name: depth / 1000.0}


def _chosen(bmi: DeltaModelBmi, names: Sequence[str]) -> list[Variable]:
    """Return the outputs that are kept, all by default."""
    table = bmi.component.about.by_name
    every = [table[name] for name in bmi.get_output_var_names()]
    known = {v.symbol: v for v in every} | {v.name: v for v in every}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"--outputs: no output {name!r}; {alternatives(name, [v.symbol for v in every])}"
            )
    return [*dict.fromkeys(known[name] for name in names)] or every


def _identity(
    bmi: DeltaModelBmi, config: RunConfig, sources: Sequence[Path], records: RunRecords
) -> dict[str, Any]:
    """Return what the records of a run depend on: where one of these differs it is another run."""
    component = bmi.component
    stored = component.group.store
    files = [file for path in sources for file in _files(path)] + (stored.files if stored else [])
    if config.restart.read is not None:
        files.append(restart.file_path(config.restart.read, config.catchment, component.valid_time))
    of_rows = [component.settable[name] for name in sorted(component.group.attributes)] + [component.area]
    status = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return {
        "version": __version__,
        "configuration": sha256(repr(config).encode()),
        "bundle": component.info.fingerprint,
        "catchments": sha256("\n".join(component.ids).encode() + b"".join(a.tobytes() for a in of_rows)),
        "times": [str(records.times[0]), str(records.times[-1]), records.step],
        "sources": [[*entry] for entry in status],
    }


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]


def _step(bmi: DeltaModelBmi, records: RunRecords, outputs: Sequence[Variable], run: UnfinishedRun) -> None:
    """Step through the records that are not done yet."""
    component = bmi.component
    if run.snapshot is not None:
        component.resume(run.snapshot, run.done)
        log.info("goes on from record %d of %d", run.done, len(records))
    arrays = {v.symbol: bmi.get_value_ptr(v.name) for v in outputs}
    with progress(len(records), "run", "step", initial=run.done) as bar:
        for steps, inputs in records.blocks(run.done, run.layout.length):
            block = {
                symbol: np.empty((steps, len(component.catchments)), run.layout.dtype) for symbol in arrays
            }
            for k in range(steps):
                for name, values in inputs.items():
                    bmi.set_value(name, values[k])
                bmi.update()
                for symbol, array in arrays.items():
                    block[symbol][k] = array
            run.append(steps, block)
            bar.update(steps)
            if run.is_due:
                run.keep(component.snapshot())


def _write(
    path: Path,
    bmi: DeltaModelBmi,
    outputs: Sequence[Variable],
    times: TimeArray,
    run: UnfinishedRun,
    row: int,
) -> FloatArray:
    """Write the records of a run as NetCDF; return the runoff of one row, where it is among them."""
    component = bmi.component
    columns = {v.symbol: netcdf.Column(v.units, v.meaning, v.name, v.aggregation) for v in outputs}
    about = {
        "title": f"{component.info.name} stepped through BMI",
        "bundle_fingerprint": component.info.fingerprint,
        "history": f"{run.begun} written by dmg_bmi",
    }
    shown = [np.empty(0)]
    with netcdf.Writer(
        path, component.catchments, columns, bmi.get_time_step(), run.layout.dtype, **about
    ) as writer:
        for steps, block in run.blocks():
            writer.append(times[steps], block)
            if "Q" in block:
                shown.append(block["Q"][:, row].astype(np.float64))
    return np.concatenate(shown)


def _draw(path: Path, records: RunRecords, runoff: FloatArray, catchment: str, info: BundleInfo) -> None:
    """Draw the hydrograph, as daily rates."""
    per_day = 86400.0 / records.step
    plots.hydrograph(
        path,
        records.times,
        runoff * 1000.0 * per_day,
        precipitation=records.daily("P", catchment, info),
        observed=records.daily("Q", catchment, info),
        title=f"{info.name}: catchment {catchment}",
    )
