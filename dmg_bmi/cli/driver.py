"""A component driven through its BMI over a file of forcing, or over the forcing that it stores."""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import __version__, processes
from ..arrays import FloatArray
from ..bmi import DeltaModelBmi
from ..errors import ConfigError, ForcingError, alternatives
from ..io import netcdf
from ..io.atomic import replacing_together
from ..io.cf_time import parse_date
from ..io.files import sha256
from ..model.bundle import BundleInfo
from ..plotting import hydrographs as plots
from ..progress import progress
from ..runtime import config as run_config
from ..runtime import restart
from ..runtime.catchments import AREA_COLUMN, Catchments, CatchmentTable, attributes_of
from ..runtime.config import ComponentAssimilation, RunConfig
from ..runtime.forcing import observations, series
from ..runtime.observed_window import OBSERVATIONS
from ..runtime.row_shares import own_share
from ..runtime.unfinished_run import Layout, UnfinishedRun
from ..training.run_folder import FORCING
from .recorder import Recorder
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
        Names or symbols of outputs, states and parameters; all outputs where empty.
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
    what: Path,
    forcing_path: Path | None,
    folder: Path,
    drawn: str | None = None,
    picture: bool = True,
    observations_path: Path | None = None,
    wanted: Wanted = Wanted(),
) -> Result:
    """Step a component over a forcing file and write its outputs, and a hydrograph if asked for.

    What configures it is found by :func:`dmg_bmi.runtime.config.find`; of a bundle alone the catchments are
    those of the forcing, with the attributes in its file. Without a file it steps over the forcing that its
    configuration stores, or that of the training in whose folder that is. With observations its states are
    brought in line with them as they come. Forcing is read, and records are kept on disk, block by block; a
    run that was killed goes on from the last minute if it is started in the same way.

    Of processes that have joined (:mod:`dmg_bmi.processes`) each runs its share of the catchments and keeps
    its records in files of its own; the first joins them in the end.

    Raises
    ------
    DmgBmiError
        No output file is left then.
    """
    picture = picture and plots.can_draw()
    config_path = run_config.find(what)
    if forcing_path is None and config_path == what / run_config.OF_RUN:
        forcing_path = what / FORCING
    with ExitStack() as stack:
        is_bundle = config_path.is_dir() and forcing_path is not None
        config = RunConfig() if is_bundle else RunConfig.read(config_path)
        forcing = None if forcing_path is None else stack.enter_context(series.OpenSeries(forcing_path))
        if is_bundle and forcing is not None:
            config = _over(forcing, config_path, str(forcing_path))
        config = _within_days(config, wanted)
        several = processes.size() > 1
        if several and observations_path is not None:
            raise ConfigError("--assimilate: catchments are analysed by one process; start one")
        share = own_share(config) if several else None
        config = share.config if share else config
        observed: dict[str, FloatArray] = {}
        if observations_path is not None:
            if forcing is None:
                raise ConfigError(
                    "--assimilate requires --forcing, whose records the observations are put to"
                )
            config, observed = _assimilating(config, forcing, observations_path)
        bmi = _component_of(config)
        bmi.initialize(str(what))
        records = RunRecords(bmi, config, forcing, str(forcing_path or config_path), observed)
        recorder = Recorder(bmi, wanted.outputs)
        own = bmi.component.catchments
        ids = share.ids if share else own
        if drawn is not None and drawn not in ids:
            raise ConfigError(f"--catchment: no catchment {drawn!r}; {alternatives(drawn, ids)}")
        draws = picture and "Q" in recorder.columns
        result = Result(folder / "output.nc", folder / "hydrograph.png" if draws else None)
        sources = [path for path in (forcing_path, observations_path) if path]
        identity = _identity(bmi, config, sources, records)
        length = netcdf.block_length(len(ids))
        layout = Layout([*recorder.columns], len(own), wanted.precision, length)
        places = [path for path in (result.picture, result.output) if path]  # of one run
        first = processes.rank() == 0
        with UnfinishedRun(folder, identity, layout, share.widths if share else ()) as run:
            with ExitStack() as writing:
                made = writing.enter_context(replacing_together(places)) if first else []
                _step(bmi, records, recorder, run)
                processes.wait()
                row, info = ids.index(drawn) if drawn else 0, bmi.component.info
                shown = _write(made[-1], bmi, ids, recorder, records, run, row) if first else np.empty(0)
                bmi.finalize()
                if first and result.picture:
                    _draw(made[0], records, shown, ids[row], info)
            processes.wait()  # nobody removes its records before all is written
    return result


def _over(forcing: series.OpenSeries, bundle: Path, path: str) -> RunConfig:
    """Return the configuration of a bundle for the catchments of a file, which holds their attributes."""
    variables = BundleInfo.read(bundle).variables
    found = attributes_of(variables, forcing.attributes, forcing.units, path)
    names = {v.symbol: v.name for v in variables}
    area = forcing.attributes.get(AREA_COLUMN)
    catchments = Catchments(
        ids=tuple(forcing.ids),
        attributes={names[symbol]: values.tolist() for symbol, values in found.items()},
        area=None if area is None else area.tolist(),
    )
    start = forcing.times[0].astype("datetime64[s]").item()
    return RunConfig(bundle=str(bundle), catchments=catchments, time_step=forcing.step, start_time=start)


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


def _identity(
    bmi: DeltaModelBmi, config: RunConfig, sources: Sequence[Path], records: RunRecords
) -> dict[str, Any]:
    """Return what the records of a run depend on: where one of these differs it is another run."""
    component = bmi.component
    stored = component.group.store
    files = [file for path in sources for file in series.files_of(path)] + (stored.files if stored else [])
    if config.restart.read is not None:
        files.append(restart.file_path(config.restart.read, config.catchment, component.valid_time))
    of_rows = [component.settable[name] for name in sorted(component.group.attributes)] + [component.area]
    return {
        "version": __version__,
        "configuration": sha256(repr(config).encode()),
        "bundle": component.info.fingerprint,
        "catchments": sha256("\n".join(component.ids).encode() + b"".join(a.tobytes() for a in of_rows)),
        "times": [str(records.times[0]), str(records.times[-1]), records.step],
        "sources": sha256(repr(series.state_of(files)).encode()),  # a store has many files
    }


def _step(bmi: DeltaModelBmi, records: RunRecords, recorder: Recorder, run: UnfinishedRun) -> None:
    """Step through the records that are not done yet."""
    component = bmi.component
    if run.snapshot is not None:
        component.resume(run.snapshot, run.done)
        log.info("goes on from record %d of %d", run.done, len(records))
    # The first process shows how far it is; the others have as much to do.
    bar = progress(len(records), "run", "step", initial=run.done, shown=processes.rank() == 0)
    with processes.told_to_end() as is_ending, bar:
        for steps, inputs in records.blocks(run.done, run.layout.length):
            block = {
                name: np.empty((steps, len(component.catchments)), run.layout.dtype)
                for name in recorder.columns
            }
            for k in range(steps):
                for name, values in inputs.items():
                    bmi.set_value(name, values[k])
                recorder.before()
                bmi.update()
                for name, array in recorder.read().items():
                    block[name][k] = array
            run.append(steps, block)
            bar.update(steps)
            is_last_of_several = run.done == len(records) and processes.size() > 1
            if run.is_due or is_ending() or is_last_of_several:
                run.keep(component.snapshot())
            if is_ending():
                raise SystemExit(128 + signal.SIGTERM)


def _write(
    path: Path,
    bmi: DeltaModelBmi,
    ids: Sequence[str],
    recorder: Recorder,
    records: RunRecords,
    run: UnfinishedRun,
    row: int,
) -> FloatArray:
    """Write the records of a run as NetCDF, what was observed of the outputs beside them.

    Return the runoff of one row, where it is among them.
    """
    component = bmi.component
    observed = records.observed_outputs(recorder.outputs)
    columns = recorder.columns | {
        name: replace(recorder.columns[v.symbol], long_name=f"observed {v.meaning}", role="target")
        for name, v in observed.items()
    }
    about = {
        "title": f"{component.info.name} stepped through BMI",
        "bundle_fingerprint": component.info.fingerprint,
        "history": f"{run.begun} written by dmg_bmi",
    }
    shown = [np.empty(0)]
    with netcdf.Writer(path, ids, columns, bmi.get_time_step(), run.layout.dtype, **about) as writer:
        for steps, block in run.blocks():
            writer.append(records.times[steps], block | records.observations(observed, steps, ids))
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
