"""A model of a protocol: its configurations, its runs on disk, and its scores by basin."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import FloatingArray
from ...errors import AttributeTableError, TrainingError
from ...io.atomic import write_atomic
from ...io.csv_table import CsvTable
from ...io.files import read_text
from ...io.timeseries import COORDINATES, BasinDataset
from ...io.typed_yaml import read_yaml
from ...model.bundle import Bundle
from .. import run_folder
from ..calibration import calibrate, seconds_per_calibration_step
from ..config import Basins, TrainingConfig, assign, bounds, find, plain
from ..data import statistics
from ..evaluate import Scores, predict, read_scores
from ..experiment import Experiment, seconds_per_step, train
from ..losses import FLOW
from ..metrics import METRICS, per_basin
from ..readers.base import FileData
from ..run_folder import RunFolder
from ..splits import UNGAUGED
from .protocol import Protocol, Rival

log = logging.getLogger("dmg_bmi")
CPU_MINUTES = "cpu_minutes"
CACHE = "cache"


@dataclass(frozen=True)
class Options:
    """What a user asks of a benchmark.

    Parameters
    ----------
    folder : Path
        Holds a run folder for each model, seed and part that is held out.
    data : mapping, optional
        The section ``data`` of all configurations, whose own attributes it keeps unless it has some.
    overrides : sequence of str
        ``section.key=value`` for all configurations.
    minutes : float
        CPU minutes of each training: steps are as many as fit. 0 leaves the steps of the configurations.
    """

    folder: Path
    data: Mapping[str, Any] | None = None
    overrides: Sequence[str] = ()
    minutes: float = 0.0


def configured(
    protocol: Protocol, name: str, options: Options, seed: int = 0, basins: Basins | None = None
) -> TrainingConfig:
    """Return the configuration of a rival in a protocol, on some basins."""
    rival = protocol.rivals[name]
    file = find(rival.config)
    content = read_yaml(file)
    periods = {key: value for key, value in plain(vars(protocol.periods)).items() if value is not None}
    content["periods"] = periods
    for key, value in rival.set.items():
        assign(content, key, value, f"{protocol.name}: {name}: {key}")
    if options.data is not None:
        own = content.get("data", {}).get("attributes")
        content["data"] = {**({} if own is None else {"attributes": own}), **options.data}
    config = TrainingConfig.from_plain(content, str(file), options.overrides)
    data = config.data
    if isinstance(data, FileData) and data.cache is None:
        data = replace(data, cache=options.folder / CACHE)
    training = replace(config.training, seed=seed)
    return replace(
        config, name=name, data=data, training=training, basins=config.basins if basins is None else basins
    )


@dataclass(frozen=True)
class Finished:
    """A finished run of a rival.

    Parameters
    ----------
    files : RunFolder
    split : str
        The split that counts.
    parts : sequence of basins, optional
        Basins of each part take the parameters of the most similar ones of the others.
    """

    files: RunFolder
    split: str
    parts: Sequence[Sequence[str]] = ()

    @property
    def minutes(self) -> float:
        """Return the CPU minutes that the run took."""
        return _minutes(self.files)

    @cached_property
    def experiment(self) -> Experiment:
        """Return configuration, data and splits of the run."""
        experiment = Experiment.load(self.files.read_config())
        if not self.parts:
            return experiment
        dataset = _of_donors(experiment.dataset, self.files / run_folder.PARAMETERS, self.parts)
        return Experiment.load(experiment.config, dataset)

    def scores(self) -> Scores:
        """Return the scores of the basins that count."""
        if not self.parts:
            return read_scores(self.files / run_folder.METRICS, FLOW)[self.split]
        experiment = self.experiment
        model = Bundle.load(self.files / run_folder.BUNDLE).model
        return experiment.score(model, [experiment.splits[self.split]])[0]

    def flow(self) -> tuple[BasinDataset, FloatingArray]:
        """Return the data of the split that counts, and its simulated flow ``[time, basins]``."""
        experiment, split = self.experiment, self.experiment.splits[self.split]
        observed = experiment.observed.columns(split.columns)
        start, end = bounds(split.period)
        first = observed.times[0] + np.timedelta64(experiment.config.periods.spin_up, "D")
        whole = observed.period(observed.times[0], end)
        part = whole.period(max(start, first), end)
        model = Bundle.load(self.files / run_folder.BUNDLE).model
        return part, predict(model, whole)[FLOW][-len(part.times) :]


def runs(
    protocol: Protocol, name: str, options: Options, seed: int, basins: Sequence[str]
) -> Iterator[Finished]:
    """Yield the finished runs of a rival, each trained, resumed or read back: one for each part held out."""
    rival, parts = protocol.rivals[name], protocol.held_out(basins)
    folder = options.folder / f"{_slug(name)}-{seed}"
    if not parts or rival.calibrate:
        config = configured(protocol, name, options, seed, Basins(train=tuple(basins)))
        files = _finished(rival, config, RunFolder(folder), options.minutes)
        yield Finished(files, "test", [*parts.values()])
        return
    for part, held_out in parts.items():
        known = tuple(basin for basin in basins if basin not in {*held_out})
        config = configured(protocol, name, options, seed, Basins(train=known, test=tuple(held_out)))
        files = RunFolder(folder.with_name(f"{folder.name}-without_{_slug(part)}"))
        yield Finished(_finished(rival, config, files, options.minutes), UNGAUGED)


def joined(finished: Sequence[Finished], basins: Sequence[str]) -> dict[str, FloatingArray]:
    """Return metric to value by basin of all parts; NaN where a run has left a basin out."""
    values = {metric: np.full(len(basins), np.nan) for metric in METRICS}
    place = {basin: k for k, basin in enumerate(basins)}
    for run in finished:
        scores = run.scores()
        # What an earlier version has scored may lack some.
        for metric in METRICS.keys() & scores.values.keys():
            values[metric][[place[b] for b in scores.ids]] = scores.values[metric]
    return values


def of_mean_flow(seeds: Sequence[Sequence[Finished]], basins: Sequence[str]) -> dict[str, FloatingArray]:
    """Return metric to value by basin of the mean flow of several seeds."""
    values = {metric: np.full(len(basins), np.nan) for metric in METRICS}
    place = {basin: k for k, basin in enumerate(basins)}
    for same in zip(*seeds, strict=True):
        parts, flows = zip(*(run.flow() for run in same), strict=True)
        scores = per_basin(np.mean(flows, axis=0), parts[0].target[FLOW], parts[0].step)
        for metric in METRICS:
            values[metric][[place[b] for b in parts[0].ids]] = scores[metric]
    return values


# -- runs on disk ------------------------------------------------------------------------------------


def _finished(rival: Rival, config: TrainingConfig, files: RunFolder, minutes: float) -> RunFolder:
    """Train or calibrate, go on, or find that this has been done."""
    if minutes:
        config = _within(rival, config, files, minutes)
    if files.holds(config):
        return files
    log.info("%s: %s", files.path, "calibrates" if rival.calibrate else "trains")
    with _timed(files):
        (calibrate if rival.calibrate else train)(config, files.path)
    return files


def _within(rival: Rival, config: TrainingConfig, files: RunFolder, minutes: float) -> TrainingConfig:
    """Return the configuration with as many steps as fit into some CPU minutes, or as were begun."""
    if (files / run_folder.CONFIG).exists():
        steps = files.read_config().training.max_steps
    else:
        each = (seconds_per_calibration_step if rival.calibrate else seconds_per_step)(config)
        steps = max(int(60.0 * minutes / each), 1)
        log.info("%s: %d steps of %.2f s in %g CPU minutes", files.path, steps, each, minutes)
    return replace(config, training=replace(config.training, max_steps=steps))


@contextmanager
def _timed(files: RunFolder) -> Iterator[None]:
    """Add the CPU time to that of the run."""
    begun = time.process_time()
    try:
        yield
    finally:
        if files.path.is_dir():
            minutes = _minutes(files) + (time.process_time() - begun) / 60.0
            write_atomic(files / CPU_MINUTES, f"{minutes:.2f}\n".encode())


def _minutes(files: RunFolder) -> float:
    path = files / CPU_MINUTES
    if not path.exists():
        return 0.0
    try:
        return float(read_text(path, TrainingError))
    except ValueError as problem:
        raise TrainingError(f"{path}: is not a number of minutes; remove it to count anew") from problem


def _slug(name: str) -> str:
    return "_".join("".join(c if c.isalnum() or c == "." else " " for c in name).split())


# -- parameters of other basins ----------------------------------------------------------------------


def most_similar(dataset: BasinDataset, parts: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return for each basin the most similar of the other parts: the nearest in its normalised attributes."""
    names = [name for name in dataset.attributes if name not in COORDINATES]
    ids = np.array(dataset.ids)
    donors: dict[str, str] = {}
    for held_out in parts:
        unknown = np.isin(ids, held_out)
        scales = statistics(dataset, names, np.flatnonzero(~unknown).tolist())
        shown = [name for name in names if scales[name].std > 0.0]
        place = np.stack([(dataset.attributes[n] - scales[n].mean) / scales[n].std for n in shown])
        distance = np.linalg.norm(place[:, unknown, None] - place[:, None, ~unknown], axis=0)
        donors |= dict(zip(ids[unknown].tolist(), ids[~unknown][distance.argmin(1)].tolist(), strict=True))
    return donors


def _of_donors(dataset: BasinDataset, table: Path, parts: Iterable[Sequence[str]]) -> BasinDataset:
    """Return the dataset with the parameters in a table of the most similar basins of other parts."""
    _, *parameters = CsvTable.read(table, AttributeTableError).columns
    others = {name: values for name, values in dataset.attributes.items() if name not in parameters}
    donors = most_similar(replace(dataset, attributes=others), parts)
    place = {basin: k for k, basin in enumerate(dataset.ids)}
    rows = [place[donors[basin]] for basin in dataset.ids]
    return replace(dataset, attributes=others | {name: dataset.attributes[name][rows] for name in parameters})
