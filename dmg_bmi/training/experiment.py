"""From a configuration file to a run folder with a bundle in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from ..allocator import keep_freed_memory
from ..arrays import DAY
from ..errors import ConfigError
from ..io import netcdf
from ..io.atomic import alone, make_folder, sweep
from ..io.timeseries import COORDINATES, BasinDataset
from ..io.xarray_series import from_xarray
from ..model.bundle import Bundle
from ..model.delta_model import DeltaModel
from ..model.training_range import warn_left_out
from ..plotting import hydrographs as plots
from ..plotting.training import training_curve
from ..processes import quiet_unless_first, wait
from ..runtime.config import write_config
from . import checkpoint, distributed, run_folder
from .config import Overrides, Training, TrainingConfig, bounds
from .data import Tensors, require, require_gradient, statistics, tensors
from .ensemble import equalize, is_ensemble, replicate, require_learning
from .evaluate import Scores, evaluate, predict, table, write_scores
from .history import History
from .losses import FLOW
from .metrics import per_basin
from .readers.joined import read_data
from .role_inputs import with_inputs
from .run_folder import RunFolder
from .splits import Split, between, splits
from .tensorboard import board, require_board
from .trained_model import begin_from
from .trainer import fit

if TYPE_CHECKING:
    import xarray

log = logging.getLogger("dmg_bmi")
#: Steps whose time is measured.
MEASURED = 3


@dataclass(frozen=True)
class Experiment:
    """A configuration, its data, and their splits.

    Parameters
    ----------
    config : TrainingConfig
    dataset : BasinDataset
        All data.
    observed : BasinDataset
        The data from the spin-up of the first period to the end of the last.
    splits : mapping of name to Split
    """

    config: TrainingConfig
    dataset: BasinDataset
    observed: BasinDataset
    splits: Mapping[str, Split]

    @classmethod
    def load(cls, config: TrainingConfig, dataset: BasinDataset | None = None) -> Self:
        """Read the data that a configuration names, unless they are given, and split them."""
        dataset = read_data(config.data) if dataset is None else dataset
        return cls(config, dataset, between(dataset, config), splits(config, dataset))

    @property
    def training_period(self) -> BasinDataset:
        """Return the data of the training period, as far as they may be learned from."""
        split = self.splits["train"]
        return split.seen(self.dataset.period(*bounds(split.period)))

    @property
    def spin_up(self) -> int:
        """Return the steps of the spin-up."""
        return round(self.config.periods.spin_up * DAY / self.dataset.step)

    @property
    def window(self) -> int:
        """Return the steps of a window."""
        return round(self.config.training.seq_length * DAY / self.dataset.step)

    def build_model(self) -> DeltaModel:
        """Build the untrained model, with the statistics of the training period."""
        config = self.config
        if config.model.bundle is not None:
            return self._trained_model(config.model.bundle)
        if not config.model.nn:
            raise ConfigError(
                f"{config.name}: model.nn has no network to train; dmg-bmi calibrate takes equations alone"
            )
        torch.manual_seed(config.training.seed)
        spec, ensemble = config.model, config.training.ensemble
        if config.data.attributes is None:
            attributes = tuple(name for name in self.dataset.attributes if name not in COORDINATES)
        else:
            attributes = tuple(config.data.attributes)
        spec = with_inputs(spec, tuple(self.dataset.forcing), attributes)
        averaged = is_ensemble(spec, ensemble)
        if averaged:
            spec = replicate(spec, ensemble, attributes)
        keys = ("inputs", "attributes", "outputs")
        features = {name for role in spec.roles for key in keys for name in role.get(key, ())}
        model = DeltaModel.build(
            nn=spec.nn,
            phy_model=spec.phy_model,
            roles=spec.roles,
            fixed=spec.fixed,
            statistics=statistics(self.training_period, sorted(features), self.splits["train"].columns),
            step=self.dataset.step,
        )
        if averaged:
            equalize(model)
        return model

    def _trained_model(self, path: Path) -> DeltaModel:
        """Load a trained model to go on from."""
        config, columns = self.config, self.splits["train"].columns
        if config.training.ensemble > 1:
            raise ConfigError(
                f"{config.name}: training.ensemble copies a new model, model.bundle is trained; set it to 1"
            )
        torch.manual_seed(config.training.seed)
        seen = statistics(self.training_period, tuple(self.dataset.attributes), columns)
        return begin_from(path, config.model.learns, self.dataset.step, seen)

    def require_periods(self) -> None:
        """Check that each period has days to compare; log where data end before it does.

        Raises
        ------
        ConfigError
            Naming the period.
        """
        spin_up = self.config.periods.spin_up
        begin = self.observed.times[0] + np.timedelta64(spin_up, "D")
        first, last = self.dataset.times[[0, -1]]
        for name, period in self.config.periods.named().items():
            start, end = bounds(period)
            if max(start, begin) >= min(end, last):
                raise ConfigError(
                    f"periods.{name}: no data from {start} to {end} after {spin_up} days of spin-up; "
                    f"available: {first} to {last}"
                )
            if end > last + np.timedelta64(round(self.dataset.step), "s"):
                log.warning("periods.%s: the data end on %s, before the period does", name, last)

    def require_inputs(self, model: DeltaModel) -> None:
        """Check that the data have what the model needs, and that all of it can learn."""
        columns = sorted({column for split in self.splits.values() for column in split.columns})
        require(self.observed, model, self.config.training.targets, columns)
        require_learning(model, self.config.training.targets)
        left_out = self.observed.columns(sorted(set(columns) - set(self.splits["train"].columns)))
        warn_left_out(model.statistics, left_out.attributes, left_out.ids)
        if not self.config.training.spin_up_gradient:
            require_gradient(model, self.spin_up)

    def score(self, model: DeltaModel, chosen: Iterable[Split]) -> list[Scores]:
        """Score each split and target in one continuous simulation, without its spin-up."""
        targets, spin_up = self.config.training.targets, self.config.periods.spin_up
        return evaluate(model, self.observed, chosen, targets, spin_up)


@dataclass(frozen=True)
class Run:
    """The result of a training.

    Parameters
    ----------
    folder, bundle : Path
    scores : dict of split to Scores
        Scores of the first target.
    history : History
    seconds : float
        Time spent in the training loop.
    """

    folder: Path
    bundle: Path
    scores: dict[str, Scores]
    history: History
    seconds: float


def train(
    config: str | Path | TrainingConfig,
    folder: str | Path,
    overrides: Overrides = (),
    *,
    data: xarray.Dataset | BasinDataset | None = None,
) -> Run:
    """Train a model as a YAML file describes.

    Parameters
    ----------
    config : path or TrainingConfig
        A file, or the name of a shipped one, such as ``camels`` and ``camels_ungauged``.
    folder : path
        The run folder: config, log, history, metrics, pictures, bundle, and what steps the
        bundle through BMI (``bmi.yaml`` with ``catchments.csv``, and ``forcing.nc``). An interrupted
        run resumes, and ends with the weights that it would have had.
    overrides : sequence of str, or mapping
        ``section.key=value``, or ``section.key`` to value, in place of the file's.
    data : xarray.Dataset or BasinDataset, optional
        In place of the data that the file names, see :func:`~dmg_bmi.datasets.from_xarray`; observations
        have the attribute ``role = "target"``. They are kept in the run folder, as ``data.nc``, and read from
        there as any file is.

    Raises
    ------
    ConfigError, ForcingError, AttributeTableError
        Naming what is wrong in the file or the data.
    TrainingError
        If the folder holds a finished run or another one, another process trains there, it cannot be
        written, or the loss is no longer finite.

    Notes
    -----
    Under ``torchrun`` all processes train the one model (see
    :mod:`~dmg_bmi.training.distributed`); the first writes.
    """
    files = RunFolder(Path(folder))
    return run(files, configured(config, files, overrides, data), data)


def configured(
    config: str | Path | TrainingConfig, files: RunFolder, overrides: Overrides, data: object
) -> TrainingConfig:
    """Return the configuration of a run, with data that are given in place of those that it names."""
    values = files.settings(overrides, data)
    if isinstance(config, TrainingConfig):
        return TrainingConfig.from_plain(config.plain(), config.name, values) if values else config
    return TrainingConfig.read(config, values)


def run(files: RunFolder, config: TrainingConfig, data: xarray.Dataset | BasinDataset | None = None) -> Run:
    """Train the model of a configuration in a folder; see :func:`train`."""
    with claimed(files, config, data) as device:
        return _run(Experiment.load(config), files, device)


@contextmanager
def claimed(
    files: RunFolder, config: TrainingConfig, data: xarray.Dataset | BasinDataset | None = None
) -> Iterator[torch.device]:
    """Hold a run folder for the run of a configuration, log into it, keep given data, and yield the device.

    Raises
    ------
    ForcingError
        If the data are no dataset.
    TrainingError
        If the folder holds a finished run or another one, another process writes there, or it
        cannot be written.
    """
    require_extras(config)
    keep_freed_memory()
    with distributed.processes(config.training.device) as device, ExitStack() as held:
        with checkpoint.writing(files.path):
            make_folder(files.path)
            if distributed.rank() == 0:
                held.enter_context(alone(files / "training"))
                sweep(files.path)
        files.require_unfinished(config)
        if data is not None and distributed.rank() == 0:
            files.keep_data(data if isinstance(data, BasinDataset) else from_xarray(data))
        wait()
        held.enter_context(quiet_unless_first())
        if distributed.rank() == 0:
            held.enter_context(files.logged())
        yield device


def require_extras(config: TrainingConfig) -> None:
    """Check before the work that what a training needs at its end is installed."""
    plots.can_draw()
    require_board(config.training.tensorboard)


def _run(experiment: Experiment, files: RunFolder, device: torch.device) -> Run:
    """Train, score and write one model."""
    options = experiment.config.training
    experiment.require_periods()
    model = experiment.build_model()
    model.compiled = options.compiles(experiment.window)
    experiment.require_inputs(model)
    history = _fit(experiment, files, model.to(device))
    kept = history.best[0] if history.best else len(history.loss)
    log.info(
        "trained %d steps in %.1f min, seed %d; kept step %d",
        len(history.loss),
        history.seconds / 60.0,
        options.seed,
        kept,
    )
    bundle = files / run_folder.BUNDLE
    if distributed.rank():
        return Run(files.path, bundle, {}, history, history.seconds)
    best = Bundle.load(bundle).model.to(device)
    best.compiled = model.compiled
    result = conclude(experiment, files, best, history)
    with checkpoint.writing(files.path):
        (files / run_folder.CHECKPOINT).unlink()
    return result


def conclude(experiment: Experiment, files: RunFolder, model: DeltaModel, history: History) -> Run:
    """Score a model, save it with its scores as the bundle of the run, and write all other results."""
    scores = experiment.score(model, experiment.splits.values())
    first = {s.split: s for s in scores if s.target == experiment.config.training.targets[0]}
    medians = {name: {m: s.median(m) for m in ("NSE", "KGE")} for name, s in first.items()}
    _save(experiment, files, model, scores=medians)
    for split in scores:
        log.info("%s", table(split))
    with checkpoint.writing(files.path):
        _write_results(experiment, files, model, history, first)
        write_scores(files / run_folder.METRICS, scores)
    return Run(files.path, files / run_folder.BUNDLE, first, history, history.seconds)


def _fit(experiment: Experiment, files: RunFolder, model: DeltaModel) -> History:
    """Train the model, and keep the best one as a bundle."""
    config, data = experiment.config, experiment.training_period
    options, columns = config.training, experiment.splits["train"].columns
    weights = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.info("%s: trained on %d of %d basins, %d weights", config.name, len(columns), len(data.ids), weights)

    def validate(candidate: DeltaModel) -> float:
        return experiment.score(candidate, [experiment.splits["validation"]])[0].median("NSE")

    first = distributed.rank() == 0
    if first:
        files.write_config(config)
    with board(files / run_folder.TENSORBOARD, options.tensorboard and first) as on_step:
        return fit(
            model,
            _training_tensors(experiment, model),
            options,
            window=experiment.window,
            spin_up=experiment.spin_up,
            label=lambda basin, step: f"basin {data.ids[basin]} from {data.times[step]}",
            validate=validate if config.periods.validation else None,
            on_best=lambda candidate: _save(experiment, files, candidate),
            on_step=on_step,
            saved=files / run_folder.CHECKPOINT,
        )


def seconds_per_step(config: TrainingConfig) -> float:
    """Measure the CPU seconds of a step of a training."""
    experiment = Experiment.load(config)
    model = experiment.build_model()
    model.compiled = config.training.compiles(experiment.window)
    return measured_step(model, _training_tensors(experiment, model), experiment, config.training)


def measured_step(model: DeltaModel, data: Tensors, experiment: Experiment, options: Training) -> float:
    """Measure the CPU seconds of a step: the median of some, without the first, which may compile."""
    ends: list[float] = []
    fit(
        model,
        data,
        replace(options, max_steps=MEASURED + 1, patience=0),
        window=experiment.window,
        spin_up=experiment.spin_up,
        on_step=lambda step, values: ends.append(time.process_time()),
    )
    return float(np.median(np.diff(ends)))


def _training_tensors(experiment: Experiment, model: DeltaModel) -> Tensors:
    return tensors(
        experiment.training_period,
        model.forcing_names,
        model.attribute_names,
        experiment.config.training.targets,
        device=next(model.parameters()).device,
        columns=experiment.splits["train"].columns,
    )


def _save(experiment: Experiment, files: RunFolder, model: DeltaModel, **provenance: Any) -> None:
    """Save a model as the bundle of the run."""
    config, basins = (
        experiment.config,
        [experiment.dataset.ids[k] for k in experiment.splits["train"].columns],
    )
    record = {"training": config.portable(), "basins": basins, **provenance}
    with checkpoint.writing(files.path):
        Bundle(model, config.name, config.summary, record).save(files / run_folder.BUNDLE)


def _write_results(
    experiment: Experiment,
    files: RunFolder,
    model: DeltaModel,
    history: History,
    scores: Mapping[str, Scores],
) -> None:
    """Write tables, pictures, and the files that step the bundle through BMI."""
    config, observed = experiment.config, experiment.observed
    history.write(files / run_folder.HISTORY)
    if plots.can_draw():
        curve, what = files / run_folder.CURVE, " + ".join(config.training.loss)
        training_curve(curve, history.loss, history.scores, what)
        _draw_hydrographs(experiment, files, model, list(scores.values())[-1])
    write_config(files / run_folder.BMI, run_folder.BUNDLE, observed, model.attribute_names)
    netcdf.write(files / run_folder.FORCING, observed, title=f"forcing and observed runoff of {config.name}")


def _draw_hydrographs(experiment: Experiment, files: RunFolder, model: DeltaModel, scores: Scores) -> None:
    """Draw the first target in the last two years of a split, of its best, middle and worst basin."""
    dataset, target = experiment.observed, experiment.config.training.targets[0]
    start, end = bounds(experiment.splits[scores.split].period)
    end = min(end, dataset.times[-1] + np.timedelta64(1, "s"))
    start = max(start, end - np.timedelta64(731, "D"))
    shown = slice(*np.searchsorted(dataset.times, np.array([start, end])))
    nse = scores.values["NSE"]
    order = [int(column) for column in np.argsort(-nse) if np.isfinite(nse[column])]
    rain = dataset.forcing.get("P")
    rate = np.float64(DAY / dataset.step)
    scale = rate if target == FLOW else np.float64(1.0)
    units = {} if target == FLOW else {"units": dataset.units.get(target, "")}
    for rank, place in zip(run_folder.RANKS, (0, len(order) // 2, -1), strict=True):
        if not order:
            return
        column = dataset.ids.index(scores.ids[order[place]])
        simulated = predict(model, dataset.columns([column]), (target,))[target][shown, 0]
        observed = dataset.target[target][shown, column]
        nse_shown = per_basin(simulated[:, None], observed[:, None])["NSE"][0]
        score = f"NSE {nse[order[place]]:.2f}, of the years shown {nse_shown:.2f}"
        plots.hydrograph(
            files.hydrograph(rank),
            dataset.times[shown],
            simulated * scale,
            precipitation=None if rain is None else rain[shown, column] * rate,
            observed=observed * scale,
            title=f"basin {dataset.ids[column]}, {scores.split}: {score}",
            **units,
        )
