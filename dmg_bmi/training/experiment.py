"""From a configuration file to a run folder with a bundle in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ..errors import ConfigError, TrainingError
from ..io import netcdf
from ..io.atomic import alone, make_folder, sweep, write_atomic
from ..io.csv_table import write_csv
from ..io.timeseries import COORDINATES, BasinDataset
from ..model.bundle import Bundle
from ..model.delta_model import DeltaModel
from ..plotting import hydrographs as plots
from ..plotting.training import training_curve
from ..runtime.config import write_config
from . import checkpoint, distributed
from .config import TrainingConfig, bounds
from .data import require, require_gradient, statistics, tensors
from .ensemble import equal, replicate
from .evaluate import Scores, evaluate, predict, table, write_scores
from .losses import FLOW
from .metrics import per_basin
from .readers import source as readers
from .splits import Split, between, splits
from .tensorboard import board, require_board
from .trainer import History, fit

log = logging.getLogger("dmg_bmi")
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Run:
    """What a training leaves behind.

    Parameters
    ----------
    folder, bundle : Path
    scores : dict of split to Scores
        Of the first target.
    history : History
    seconds : float
        That the weights took.
    """

    folder: Path
    bundle: Path
    scores: dict[str, Scores]
    history: History
    seconds: float


def train(config: str | Path | TrainingConfig, folder: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Train a model as a YAML file says.

    Parameters
    ----------
    config : path or TrainingConfig
        A file, or the name of a shipped one, such as ``camels`` and ``camels_ungauged``.
    folder : path
        The run folder: config, log, history, metrics, pictures, bundle, and what steps the
        bundle through BMI (``bmi.yaml`` with ``catchments.csv``, and ``forcing.nc``). A run that
        was stopped there goes on where it was, and ends with the weights that it would have had.
    overrides : sequence of str
        ``section.key=value`` in place of what the file says.

    Returns
    -------
    Run

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
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(config, overrides)
    folder = Path(folder)
    require_extras(config)
    with distributed.processes(config.training.device) as device, ExitStack() as held:
        with checkpoint.writing(folder):
            make_folder(folder)
            if distributed.rank() == 0:
                held.enter_context(alone(folder / "training"))
                sweep(folder)
        _require_unfinished(folder, config)
        with _quiet() if distributed.rank() else _logged(folder / "train.log"):
            dataset = read(config)
            _require_periods(config, dataset)
            model = build(config, dataset)
            model.compiled = config.training.engine == "compiled"
            used = sorted({column for part in splits(config, dataset).values() for column in part.columns})
            require(between(dataset, config), model, config.training.targets, used)
            if not config.training.spin_up_gradient:
                require_gradient(model, round(config.periods.spin_up * 86400.0 / dataset.step))
            return _run(config, dataset, model.to(device), folder)


def require_extras(config: TrainingConfig) -> None:
    """Tell before the work what is not installed that a training needs at its end."""
    plots.pyplot()
    require_board(config.training.tensorboard)


def _require_unfinished(folder: Path, config: TrainingConfig) -> None:
    """Go on with a run of this very configuration, and touch no other."""
    if not os.path.exists(folder / "config.yaml"):
        return
    if os.path.exists(folder / "metrics.csv") and not os.path.exists(folder / CHECKPOINT):
        raise TrainingError(f"{folder}: holds a finished run; choose another folder or remove it")
    there = _flat(_plain(asdict(TrainingConfig.read(folder / "config.yaml"))))
    asked = _flat(_plain(asdict(config)))
    other = sorted(key for key in there.keys() | asked.keys() if there.get(key) != asked.get(key))
    if other:
        said = ", ".join(f"{key} {there.get(key)!r} and not {asked.get(key)!r}" for key in other[:3])
        raise TrainingError(
            f"{folder}: holds an unfinished run with {said}; choose another folder, remove it, or go on "
            "with that run by giving its configuration"
        )


def _require_periods(config: TrainingConfig, dataset: BasinDataset) -> None:
    """Each period must have days that can be compared; where data end before it does, that is said."""
    spin_up = config.periods.spin_up
    begin = between(dataset, config).times[0] + np.timedelta64(spin_up, "D")
    first, last = dataset.times[[0, -1]]
    for name, period in config.periods.named().items():
        start, end = bounds(period)
        if max(start, begin) >= min(end, last):
            raise ConfigError(
                f"periods.{name}: no data from {start} to {end} that {spin_up} days of spin-up come before; "
                f"there is {first} to {last}"
            )
        if end > last + np.timedelta64(round(dataset.step), "s"):
            log.warning("periods.%s: the data end on %s, before the period does", name, last)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``section.key`` to value."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        result |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return result


def read(config: TrainingConfig) -> BasinDataset:
    """The data that a configuration asks for."""
    return readers.read(config.data)


def build(config: TrainingConfig, dataset: BasinDataset) -> DeltaModel:
    """The untrained model, with the statistics of the training period."""
    torch.manual_seed(config.training.seed)
    spec, members = config.model, config.training.members
    attributes = None if config.data.attributes is None else tuple(config.data.attributes)
    if attributes is None:
        attributes = tuple(name for name in dataset.attributes if name not in COORDINATES)
    if members > 1:
        spec = replicate(spec, members, attributes)
    roles = [{"attributes": attributes, **role} for role in spec.roles]
    named = ("inputs", "attributes", "outputs")
    shown = {name for role in roles for key in named for name in role.get(key, ())}
    train = splits(config, dataset)["train"]
    split = dataset.period(*bounds(train.period))
    model = DeltaModel.build(
        nn=spec.nn,
        phy_model=spec.phy_model,
        roles=roles,
        fixed=spec.fixed,
        statistics=statistics(split, sorted(shown), train.columns),
        step=dataset.step,
    )
    if members > 1:
        equal(model)
    return model


def _run(config: TrainingConfig, dataset: BasinDataset, model: DeltaModel, folder: Path) -> Run:
    options, periods = config.training, config.periods
    device, first = next(model.parameters()).device, distributed.rank() == 0
    per_day = 86400.0 / dataset.step
    window, spin_up = round(options.window * per_day), round(periods.spin_up * per_day)
    split = dataset.period(*bounds(periods.train))
    observed = between(dataset, config)
    parts = splits(config, dataset)
    trained = [dataset.ids[column] for column in parts["train"].columns]
    weights = sum(p.numel() for p in model.parameters())
    log.info(
        "%s: trained on %d of %d basins, %d weights", config.name, len(trained), len(dataset.ids), weights
    )

    def save(candidate: DeltaModel, **more: Any) -> None:
        provenance = {"training": _without_folders(config), "basins": trained, **more}
        with checkpoint.writing(folder):
            Bundle(candidate, config.name, config.summary, provenance).save(folder / "bundle")

    def validation_score(candidate: DeltaModel) -> float:
        return _scores(candidate, observed, config, [parts["validation"]])[0].median("NSE")

    if first:
        text = yaml.safe_dump(_plain(asdict(config)), sort_keys=False)
        with checkpoint.writing(folder):
            write_atomic(folder / "config.yaml", text.encode("utf-8"))
    with board(folder / "tensorboard", options.tensorboard and first) as watch:
        history = fit(
            model,
            tensors(
                split,
                model.forcing_names,
                model.attribute_names,
                options.targets,
                device=device,
                columns=parts["train"].columns,
            ),
            options,
            window=window,
            spin_up=spin_up,
            label=lambda basin, step: f"basin {split.ids[basin]} from {split.times[step]}",
            validate=validation_score if periods.validation else None,
            keep=save,
            watch=watch,
            saved=folder / CHECKPOINT,
        )
    kept = history.best[0] if history.best else len(history.loss)
    minutes = history.seconds / 60.0
    log.info(
        "trained %d steps in %.1f min, seed %d; kept step %d", len(history.loss), minutes, options.seed, kept
    )

    if not first:
        return Run(folder, folder / "bundle", {}, history, history.seconds)
    compiled, model = model.compiled, Bundle.load(folder / "bundle").model.to(device)
    model.compiled = compiled
    every = _scores(model, observed, config, list(parts.values()))
    scores = {s.split: s for s in every if s.target == options.targets[0]}
    save(model, scores={name: {m: s.median(m) for m in ("NSE", "KGE")} for name, s in scores.items()})
    for one in every:
        log.info("%s", table(one))
    with checkpoint.writing(folder):
        _report(folder, observed, model, history, scores, config)
        write_scores(folder / "metrics.csv", every)
        (folder / CHECKPOINT).unlink()
    return Run(folder, folder / "bundle", scores, history, history.seconds)


def _scores(
    model: DeltaModel, dataset: BasinDataset, config: TrainingConfig, chosen: list[Split]
) -> list[Scores]:
    """Scores of each split and target in one continuous simulation, its spin-up left out."""
    return evaluate(model, dataset, chosen, config.training.targets, config.periods.spin_up)


def _report(
    folder: Path,
    dataset: BasinDataset,
    model: DeltaModel,
    history: History,
    scores: Mapping[str, Scores],
    config: TrainingConfig,
) -> None:
    """Tables, pictures, and the files that step the bundle through BMI."""
    validated = dict(history.scores)
    rows = ([step, f"{loss:.6g}", validated.get(step, "")] for step, loss in enumerate(history.loss, start=1))
    write_csv(folder / "history.csv", ["step", "loss", "validation_NSE"], rows)
    training_curve(
        folder / "training_curve.png", history.loss, history.scores, " + ".join(config.training.loss)
    )
    _hydrographs(folder, dataset, model, list(scores.values())[-1], config)
    write_config(folder / "bmi.yaml", "bundle", dataset, model.attribute_names)
    netcdf.write(folder / "forcing.nc", dataset, title=f"forcing and observed runoff of {config.name}")


def _hydrographs(
    folder: Path,
    dataset: BasinDataset,
    model: DeltaModel,
    scores: Scores,
    config: TrainingConfig,
) -> None:
    """The last two years of a split, of its best, middle and worst basin."""
    start, end = bounds(splits(config, dataset)[scores.split].period)
    end = min(end, dataset.times[-1] + np.timedelta64(1, "s"))
    start = max(start, end - np.timedelta64(731, "D"))
    shown = slice(*np.searchsorted(dataset.times, np.array([start, end])))
    nse = scores.values["NSE"]
    order = [int(column) for column in np.argsort(-nse) if np.isfinite(nse[column])]
    rate = np.float64(86400.0 / dataset.step)
    for rank, place in {"best": 0, "median": len(order) // 2, "worst": -1}.items():
        if not order:
            return
        column = dataset.ids.index(scores.ids[order[place]])
        simulated = predict(model, dataset.columns([column]))[FLOW][shown, 0]
        observed = dataset.target[FLOW][shown, column]
        own = per_basin(simulated[:, None], observed[:, None])["NSE"][0]
        score = f"NSE {nse[order[place]]:.2f}, of the years shown {own:.2f}"
        plots.hydrograph(
            folder / f"hydrograph_{rank}.png",
            dataset.times[shown],
            simulated * rate,
            precipitation=dataset.forcing["P"][shown, column] * rate,
            observed=observed * rate,
            title=f"basin {dataset.ids[column]}, {scores.split}: {score}",
        )


def _without_folders(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain data; of paths the names, since a bundle travels."""
    plain: dict[str, Any] = _plain(asdict(config))
    for section in ("data", "basins"):
        given = vars(getattr(config, section))
        plain[section] |= {key: path.name for key, path in given.items() if isinstance(path, Path)}
    return plain


def _plain(value: Any) -> Any:
    """Paths, dates and tuples as YAML writes them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else value


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Copy the log into a file, whatever the console shows of it."""
    with checkpoint.writing(path):
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        # Into the file alone: on the console the command line says it.
        text = str(error) or type(error).__name__
        handler.handle(logging.LogRecord(log.name, logging.ERROR, __file__, 0, text, None, None))
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave what there is to tell to the first process."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk is told of by what cannot do without it."""
