"""From a configuration file to a run folder with a bundle in it."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from .. import netcdf, plots
from ..bundle import Bundle
from ..dataset import Dataset
from ..delta_model import DeltaModel
from ..errors import TrainingError
from ..run_config import write_config
from ..synthetic import generate
from .camels import read_camels
from .config import SyntheticData, TrainingConfig, bounds
from .data import require, statistics, tensors
from .evaluate import Scores, predict, score, table, write_scores
from .plots import training_curve
from .trainer import History, fit

log = logging.getLogger("dmg_bmi")
TARGET = "Q"


@dataclass(frozen=True)
class Run:
    """What a training leaves behind.

    Parameters
    ----------
    folder, bundle : Path
    scores : dict of split to Scores
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
        A file, or the name of a shipped one: ``camels``, ``demo_daily``, ``demo_hourly``.
    folder : path
        The run folder: config, log, history, metrics, pictures, bundle, and what steps the
        bundle through BMI (``bmi.yaml`` with ``catchments.csv``, and ``forcing.nc``).
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
        If the folder holds a run already, or the loss is no longer finite.
    """
    if not isinstance(config, TrainingConfig):
        config = TrainingConfig.read(config, overrides)
    folder = Path(folder)
    if (folder / "config.yaml").exists():
        raise TrainingError(f"{folder}: holds a run already; choose another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    with _logged(folder / "train.log"):
        dataset = read(config)
        model = build(config, dataset)
        require(_between(dataset, config), model)
        text = yaml.safe_dump(_plain(asdict(config)), sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        return _run(config, dataset, model, folder)


def read(config: TrainingConfig) -> Dataset:
    """The data that a configuration asks for."""
    data = config.data
    if isinstance(data, SyntheticData):
        start = f"{data.start:%Y-%m-%d}"
        return generate(
            data.basins, data.years, step=data.step, start=start, noise=data.noise, seed=data.seed
        )
    return read_camels(
        data.path, data.basins, data.attributes, forcing=data.forcing, pet=data.pet, area=data.area
    )


def build(config: TrainingConfig, dataset: Dataset) -> DeltaModel:
    """The untrained model, with the statistics of the training period."""
    torch.manual_seed(config.training.seed)
    spec = config.model
    roles = [{"attributes": config.data.attributes, **role} for role in spec.roles]
    shown = {name for role in roles for key in ("inputs", "attributes") for name in role.get(key, ())}
    split = dataset.period(*bounds(config.periods.train))
    return DeltaModel.build(
        nn=spec.nn,
        phy_model=spec.phy_model,
        roles=roles,
        fixed=spec.fixed,
        statistics=statistics(split, sorted(shown)),
        step=dataset.step,
    )


def _run(config: TrainingConfig, dataset: Dataset, model: DeltaModel, folder: Path) -> Run:
    options, periods = config.training, config.periods
    model.to(options.device)
    per_day = 86400.0 / dataset.step
    window, spin_up = round(options.window * per_day), round(periods.spin_up * per_day)
    split = dataset.period(*bounds(periods.train))
    observed = _between(dataset, config)
    weights = sum(p.numel() for p in model.parameters())
    log.info("%s: %d basins, %d weights", config.name, len(dataset.ids), weights)

    def save(candidate: DeltaModel, **more: Any) -> None:
        provenance = {"training": _without_folders(config), "basins": list(dataset.ids), **more}
        Bundle(candidate, config.name, config.summary, provenance).save(folder / "bundle")

    def validation_score(candidate: DeltaModel) -> float:
        return _scores(candidate, observed, config, ["validation"])["validation"].median("NSE")

    begun = time.perf_counter()
    history = fit(
        model,
        tensors(split, model.forcing_names, model.attribute_names, TARGET, device=options.device),
        options,
        window=window,
        spin_up=spin_up,
        target=TARGET,
        label=lambda basin, step: f"basin {split.ids[basin]} from {split.times[step]}",
        validate=validation_score if periods.validation else None,
        keep=save,
    )
    seconds = time.perf_counter() - begun
    log.info("trained %d steps in %.1f min, seed %d", options.steps, seconds / 60.0, options.seed)

    model = Bundle.load(folder / "bundle").model.to(options.device)
    scores = _scores(model, observed, config, list(periods.named()))
    save(model, scores={name: {m: s.median(m) for m in ("NSE", "KGE")} for name, s in scores.items()})
    for of_split in scores.values():
        log.info("%s", table(of_split))
    _report(folder, observed, model, history, scores, config)
    return Run(folder, folder / "bundle", scores, history, seconds)


def _between(dataset: Dataset, config: TrainingConfig) -> Dataset:
    """From the spin-up of the first split to the end of the last, as far as there is data."""
    ranges = [bounds(period) for period in config.periods.named().values()]
    spin_up = np.timedelta64(config.periods.spin_up, "D")
    return dataset.period(min(start for start, _ in ranges) - spin_up, max(end for _, end in ranges))


def _scores(
    model: DeltaModel, dataset: Dataset, config: TrainingConfig, splits: list[str]
) -> dict[str, Scores]:
    """Scores of each split in one continuous simulation, its spin-up left out."""
    ranges = {name: bounds(config.periods.named()[name]) for name in splits}
    dataset = dataset.period(dataset.times[0], max(end for _, end in ranges.values()))
    simulated = predict(model, dataset, TARGET)
    first = dataset.times[0] + np.timedelta64(config.periods.spin_up, "D")
    result = {}
    for name, (start, end) in ranges.items():
        part = dataset.period(max(start, first), end)
        begin = int(np.searchsorted(dataset.times, part.times[0]))
        result[name] = score(name, simulated[begin : begin + len(part.times)], part, TARGET)
    return result


def _report(
    folder: Path,
    dataset: Dataset,
    model: DeltaModel,
    history: History,
    scores: Mapping[str, Scores],
    config: TrainingConfig,
) -> None:
    """Tables, pictures, and the files that step the bundle through BMI."""
    write_scores(folder / "metrics.csv", list(scores.values()))
    with open(folder / "history.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "validation_NSE"])
        validated = dict(history.scores)
        for step, loss in enumerate(history.loss, start=1):
            writer.writerow([step, f"{loss:.6g}", validated.get(step, "")])
    training_curve(folder / "training_curve.png", history, " + ".join(config.training.loss))
    _hydrographs(folder, dataset, predict(model, dataset, TARGET), list(scores.values())[-1], config)
    write_config(folder / "bmi.yaml", "bundle", dataset, model.attribute_names)
    netcdf.write(folder / "forcing.nc", dataset, title=f"forcing and observed runoff of {config.name}")


def _hydrographs(
    folder: Path,
    dataset: Dataset,
    simulated: NDArray[np.floating],
    scores: Scores,
    config: TrainingConfig,
) -> None:
    """The last two years of a split, of its best, middle and worst basin."""
    start, end = bounds(config.periods.named()[scores.split])
    start = max(start, end - np.timedelta64(731, "D"))
    shown = slice(*np.searchsorted(dataset.times, np.array([start, end])))
    nse = scores.values["NSE"]
    order = [int(column) for column in np.argsort(-nse) if np.isfinite(nse[column])]
    rate = np.float64(86400.0 / dataset.step)
    for rank, place in {"best": 0, "median": len(order) // 2, "worst": -1}.items():
        if not order:
            return
        column = order[place]
        plots.hydrograph(
            folder / f"hydrograph_{rank}.png",
            dataset.times[shown],
            simulated[shown, column] * rate,
            precipitation=dataset.forcing["P"][shown, column] * rate,
            observed=dataset.target[TARGET][shown, column] * rate,
            title=f"basin {dataset.ids[column]}, {scores.split} period: NSE {nse[column]:.2f}",
        )


def _without_folders(config: TrainingConfig) -> dict[str, Any]:
    """The configuration as plain data; of the data's path the name, since a bundle travels."""
    plain: dict[str, Any] = _plain(asdict(config))
    if "path" in plain["data"]:
        plain["data"]["path"] = Path(plain["data"]["path"]).name
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
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
