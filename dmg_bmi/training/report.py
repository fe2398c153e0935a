"""A finished run as one interactive HTML file: all basins, their series, parameters and water."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import DAY, HOUR, FloatingArray
from ..errors import ConfigError
from ..io import netcdf
from ..io.files import read_text
from ..io.timeseries import LATITUDE, LONGITUDE, BasinDataset
from ..model.bundle import BundleInfo
from ..model.delta_model import DeltaModel
from ..report import Payload, write_page
from . import run_folder
from .checkpoint import writing
from .config import TrainingConfig, bounds
from .evaluate import Scores, read_scores
from .history import History
from .run_folder import RunFolder
from .simulated import Simulation
from .splits import splits

#: Metric to its unit and the values between which colours change; the best value is within or at an end.
SHOWN: dict[str, tuple[str, float, float]] = {
    "NSE": ("", 0.0, 1.0),
    "KGE": ("", 0.0, 1.0),
    "r": ("", 0.0, 1.0),
    "RMSE": ("mm", 0.0, 3.0),
    "bias": ("%", -50.0, 50.0),
    "FHV": ("%", -50.0, 50.0),
    "FLV": ("%", -100.0, 100.0),
}
#: What turns the amount of a step into a rate, where that is the same number.
PER_STEP = {DAY: " d-1", HOUR: " h-1"}
#: Points of the curve of a training.
CURVE = 2000


def write_report(folder: str | Path, reference: str | Path | None = None) -> Path:
    """Write ``report.html`` into a run folder.

    Parameters
    ----------
    folder : path
        Of a finished run.
    reference : path, optional
        Another run, or its ``metrics.csv``: its scores are drawn beside those of this one.

    Raises
    ------
    ConfigError
        If a folder holds no finished run.
    """
    files = RunFolder(Path(folder))
    files.require_finished()
    config = files.read_config()
    payload = Payload()
    content = _content(files, config, payload, None if reference is None else Path(reference))
    with writing(files / run_folder.REPORT):
        return write_page(files / run_folder.REPORT, config.name, ["basins.js"], content, payload)


def _content(
    files: RunFolder, config: TrainingConfig, payload: Payload, reference: Path | None
) -> dict[str, Any]:
    target = config.training.targets[0]
    read = read_scores(files / run_folder.METRICS, target)
    other = None if reference is None else _reference(reference, target)
    history = History.read(files / run_folder.HISTORY)
    info, model = BundleInfo.read(files / run_folder.BUNDLE).load()
    dataset = netcdf.read(files / run_folder.FORCING)
    chosen = splits(config, dataset)
    judged = [*read][-1]
    period = chosen[judged].period if judged in chosen else config.periods.test or config.periods.train
    start, end = bounds(period)
    steps = dataset.steps(max(start, dataset.times[0]), min(end, dataset.times[-1] + 1))
    simulation = Simulation(model, dataset, target, steps)
    longitude, latitude = (
        next((dataset.attributes[n] for n in names if n in dataset.attributes), None)
        for names in (LONGITUDE, LATITUDE)
    )
    flux = next(f for f in model.declaration.fluxes if f.name == target)
    return {
        "title": config.name,
        "summary": config.summary,
        "facts": _facts(config, info, dataset, model),
        "ids": list(dataset.ids),
        "place": None
        if longitude is None or latitude is None
        else [_plain(longitude, 5), _plain(latitude, 5)],
        "units": flux.units + (PER_STEP.get(dataset.step, "") if flux.aggregation == "sum" else ""),
        "meaning": flux.meaning,
        "judged": judged,
        "period": [str(dataset.times[steps][0])[:10], str(dataset.times[steps][-1])[:10]],
        "metrics": {name: list(SHOWN[name]) for name in SHOWN if name in read[judged].values},
        "scores": {split: _scores(some, dataset) for split, some in read.items()},
        "reference": None
        if other is None
        else {"name": other[0], "scores": {s: _scores(v, None) for s, v in other[1].items()}},
        "attributes": {
            name: [dataset.units.get(name, ""), payload.add(values, "f4")]
            for name, values in dataset.attributes.items()
        },
        **simulation.pack(payload),
        "training": {
            "loss": _thinned(history.loss),
            "steps": len(history.loss),
            "scores": [[step, _number(score)] for step, score in history.scores],
            "name": " + ".join(config.training.loss),
        },
        "config": read_text(files / run_folder.CONFIG, ConfigError),
    }


def _reference(path: Path, target: str) -> tuple[str, dict[str, Scores]]:
    """Return the name and the scores of another run."""
    file = path / run_folder.METRICS if path.is_dir() else path
    if not file.exists():
        raise ConfigError(f"{path}: holds no finished run (no {run_folder.METRICS}) to compare with")
    return file.resolve().parent.name, read_scores(file, target)


def _scores(scores: Scores, dataset: BasinDataset | None) -> dict[str, Any]:
    """Return metrics by basin, in the order of the data where there are some."""
    if dataset is None:
        return {name: _plain(scores.values[name], 4) for name in SHOWN if name in scores.values}
    place = {name: k for k, name in enumerate(scores.ids)}
    rows = np.array([place.get(name, -1) for name in dataset.ids])
    ordered = {
        name: np.append(np.asarray(scores.values[name], float), np.nan)[rows]
        for name in SHOWN
        if name in scores.values
    }
    return {name: _plain(values, 4) for name, values in ordered.items()}


def _plain(values: FloatingArray, digits: int) -> list[float | None]:
    return [_number(round(float(v), digits)) for v in values]


def _number(value: float) -> float | None:
    """Return a number that JSON has, or none."""
    return value if np.isfinite(value) else None


def _thinned(loss: Sequence[float]) -> list[list[float | None]]:
    """Return step, loss, and the lowest and highest loss of at most some blocks of steps."""
    block = -(-len(loss) // CURVE)
    parts = [loss[k : k + block] for k in range(0, len(loss), block)]
    return [
        [float(k * block + (len(part) + 1) / 2) for k, part in enumerate(parts)],
        *([_number(float(join(part))) for part in parts] for join in (np.mean, np.min, np.max)),
    ]


def _facts(
    config: TrainingConfig, info: BundleInfo, dataset: BasinDataset, model: DeltaModel
) -> list[list[str]]:
    weights = sum(p.numel() for p in model.parameters())
    options = config.training
    periods = [
        f"{name} {start:%Y-%m-%d} to {end:%Y-%m-%d}" for name, (start, end) in config.periods.named().items()
    ]
    facts: Mapping[str, str] = {
        "networks": ", ".join(f"{key}: {type(n).__name__}" for key, n in model.networks.items()) or "none",
        "process models": ", ".join(m.declaration.name for m in model.process_models.values()) or "none",
        "weights": f"{weights:,}",
        "basins": f"{len(info.provenance.get('basins', ()))} trained on, {len(dataset.ids)} in the data",
        "periods": "; ".join(periods),
        "steps": f"{options.max_steps} of {options.batch_size} windows of {options.seq_length} days, "
        f"seed {options.seed}",
        "bundle": f"{info.fingerprint[:16]}, written {info.provenance.get('created', '')}",
    }
    return [[key, value] for key, value in facts.items()]
