"""A finished run on one page: HTML that needs no other file and runs nothing."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ..arrays import FloatArray, FloatingArray
from ..errors import ConfigError, TrainingError
from ..io import netcdf
from ..io.atomic import write_atomic
from ..io.csv_table import CsvTable
from ..io.files import read_bytes, read_text
from ..io.timeseries import LATITUDE, LONGITUDE, BasinDataset
from ..model.bundle import BundleInfo
from ..model.delta_model import DeltaModel
from ..plotting import training as plots
from ..plotting.hydrographs import pyplot
from .checkpoint import writing
from .config import TrainingConfig
from .data import tensors
from .evaluate import predict
from .trainer import History

SHOWN = {"NSE": "", "KGE": "", "RMSE": "mm", "bias": "%", "FHV": "%", "FLV": "%"}
HEADER = [f"{metric} ({unit})" if unit else metric for metric, unit in SHOWN.items()]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px;
  margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.15em; margin: 2em 0 .4em }
.quiet { color: #667 } img { max-width: 100%; height: auto } .wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px }
th, td { text-align: right; padding: .2em .8em; border-bottom: 1px solid #e4e8ec } th { color: #556 }
th:first-child, td:first-child, .facts td { text-align: left }
pre { background: #f5f7f9; padding: 1em; overflow-x: auto; font-size: 13px }
figure { margin: 1em 0 } figcaption { color: #667; font-size: 13px }
"""
#: Split to metric to value by basin.
Table = dict[str, dict[str, FloatingArray]]


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder.

    Raises
    ------
    ConfigError
        If the folder holds no finished run.
    """
    pyplot()  # what is missing is told before the work, not after it
    folder = Path(folder)
    for name in ("config.yaml", "metrics.csv", "history.csv", "forcing.nc"):
        if not os.path.exists(folder / name):
            raise ConfigError(f"{folder}: holds no finished run (no {name}); see dmg-bmi train")
    config = TrainingConfig.read(folder / "config.yaml")
    info = BundleInfo.read(folder / "bundle")
    dataset = netcdf.read(folder / "forcing.nc")
    model = info.load_model()
    ids, scores = _metrics(folder / "metrics.csv", config.training.targets[0])
    history = _history(folder / "history.csv")
    title = escape(config.name)
    body = [
        f"<h1>{title}</h1>",
        f'<p class="quiet">{escape(config.summary)}</p>',
        _facts(config, info, dataset, model),
        "<h2>Medians</h2>",
        _table(["split", "basins", *HEADER], [_medians(split, scores[split]) for split in scores]),
        _picture("Share of basins below a score", plots.metric_cdf, scores, ("NSE", "KGE", "r")),
        "<h2>Hydrographs</h2>",
        *(
            _file(folder / f"hydrograph_{rank}.png", f"the {rank} basin by NSE, its last two years")
            for rank in ("best", "median", "worst")
        ),
        "<h2>Training</h2>",
        _picture(
            "of each step, and smoothed",
            plots.training_curve,
            history.loss,
            history.scores,
            " + ".join(config.training.loss),
        ),
        "<h2>Learned parameters</h2>",
        *_parameters(model, dataset),
        "<h2>Storages</h2>",
        _storages(model, dataset, ids, scores),
        "<h2>Basins</h2>",
        *(_basins(split, ids[split], values) for split, values in scores.items()),
        "<h2>Configuration</h2>",
        f"<pre>{escape(read_text(folder / 'config.yaml', ConfigError))}</pre>",
    ]
    page = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )
    path = folder / "report.html"
    with writing(path):
        write_atomic(path, page.encode("utf-8"))
    return path


def _metrics(path: Path, target: str) -> tuple[dict[str, list[str]], Table]:
    """Ids, and scores of one target, by split."""
    keys = ("target", "basin", "split")
    table = _written_table(path, keys)
    targets, basins, splits = (table.columns[key] for key in keys)
    rows: dict[str, list[int]] = {}
    for row, split in enumerate(splits):
        if targets[row] == target and basins[row] != "median":
            rows.setdefault(split, []).append(row)
    metrics = [name for name in table.columns if name not in keys]
    return (
        {split: [basins[row] for row in some] for split, some in rows.items()},
        {split: {m: _numbers(table, m, some) for m in metrics} for split, some in rows.items()},
    )


def _history(path: Path) -> History:
    table = _written_table(path, ("step", "loss", "validation_NSE"))
    every = range(len(table.lines))
    history = History()
    history.loss += _numbers(table, "loss", every).tolist()
    scored = [row for row in every if table.columns["validation_NSE"][row]]
    steps, scores = _numbers(table, "step", scored), _numbers(table, "validation_NSE", scored)
    if not np.isfinite(steps).all():
        raise ConfigError(f"{path}: column 'step' must hold whole numbers")
    history.scores += [(int(step), score) for step, score in zip(steps, scores.tolist(), strict=True)]
    return history


def _written_table(path: Path, needed: Sequence[str]) -> CsvTable:
    table = CsvTable.read(path, ConfigError)
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise ConfigError(f"{path}: has no column {absent[0]!r}, so it is not what dmg-bmi train writes")
    return table


def _numbers(table: CsvTable, name: str, rows: Sequence[int]) -> FloatArray:
    """Scores, of which some may be infinite."""
    try:
        return np.array([float(table.columns[name][row]) for row in rows])
    except ValueError as problem:
        raise ConfigError(f"{table.path}: column {name!r}: {problem}") from problem


def _facts(config: TrainingConfig, info: BundleInfo, dataset: BasinDataset, model: DeltaModel) -> str:
    weights = sum(p.numel() for p in model.parameters())
    options = config.training
    periods = [
        f"{name} {start:%Y-%m-%d} to {end:%Y-%m-%d}" for name, (start, end) in config.periods.named().items()
    ]
    lines = {
        "networks": ", ".join(f"{key}: {type(n).__name__}" for key, n in model.networks.items()) or "none",
        "process models": ", ".join(m.declaration.name for m in model.process_models.values()) or "none",
        "weights": f"{weights:,}",
        "basins": f"{len(info.provenance.get('basins', ()))} trained on, {len(dataset.ids)} in the data",
        "periods": "; ".join(periods),
        "steps": f"{options.steps} of {options.batch} windows of {options.window} days, seed {options.seed}",
        "bundle": f"{info.fingerprint[:16]}, written {info.provenance.get('created', '')}",
    }
    rows = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in lines.items())
    return f'<table class="facts">{rows}</table>'


def _median(values: FloatingArray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _medians(split: str, values: Mapping[str, FloatingArray]) -> list[str]:
    count = int(np.isfinite(values["NSE"]).sum())
    return [split, str(count), *(_number(_median(values[m]), unit) for m, unit in SHOWN.items())]


def _basins(split: str, ids: Sequence[str], values: Mapping[str, FloatingArray]) -> str:
    nse = np.where(np.isnan(values["NSE"]), -np.inf, values["NSE"])
    rows = [[ids[k], *(_number(values[m][k], unit) for m, unit in SHOWN.items())] for k in np.argsort(-nse)]
    opened = " open" if split in ("test", "ungauged") else ""
    table = _table(["basin", *HEADER], rows)
    return f"<details{opened}><summary>{escape(split)}, best first</summary>{table}</details>"


def _number(value: float, unit: str = "") -> str:
    digits = 1 if unit == "%" else 3
    return f"{value:.{digits}f}" if not abs(value) >= 1e4 else f"{value:.1e}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _picture(caption: str, draw: Callable[..., None], *arguments: Any) -> str:
    buffer: BinaryIO = io.BytesIO()
    draw(buffer, *arguments)
    buffer.seek(0)
    return _image(buffer.read(), caption)


def _file(path: Path, caption: str) -> str:
    return _image(read_bytes(path, TrainingError), caption) if path.exists() else ""


def _image(png: bytes, caption: str) -> str:
    source = b64encode(png).decode("ascii")
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{source}">{text}</figure>'


def _parameters(model: DeltaModel, dataset: BasinDataset) -> list[str]:
    """Of the last year's mean where they change in time, of the components' mean where there are several."""
    if not model.learned:
        return ["<p>None: the networks stand alone.</p>"]
    data = tensors(dataset, model.forcing_names, model.attribute_names, ())
    year = round(365 / model.dt)
    forcing = {name: values[-2 * year :] for name, values in data.forcing.items()}
    with torch.no_grad():
        found = model.learned_parameters(forcing, data.attributes)
    values, bounds, units = {}, {}, {}
    for name, tensor in found.items():
        key, _, symbol = name.partition(".")
        parameter = model.process_models[key].declaration.parameter(symbol)
        label = symbol if len(model.process_models) == 1 else name
        if tensor.dim() > 1 + len(parameter.shape):
            tensor, label = tensor[-year:].mean(0), f"mean {label}"
        values[label] = tensor.flatten(1).mean(1).numpy() if tensor.dim() > 1 else tensor.numpy()
        bounds[label], units[label] = (parameter.lower, parameter.upper), parameter.units
    place = [
        next((dataset.attributes[n] for n in names if n in dataset.attributes), None)
        for names in (LONGITUDE, LATITUDE)
    ]
    places = None if place[0] is None or place[1] is None else (place[0], place[1])
    how = "at the gauges, with the bounds of each" if places else "of each basin between the bounds"
    caption = f"{how}; parallel components averaged, and the last year where they change in time"
    return [_picture(caption, plots.parameters, values, bounds, units, places)]


def _storages(
    model: DeltaModel, dataset: BasinDataset, ids: Mapping[str, Sequence[str]], scores: Table
) -> str:
    stores = [f for f in model.declaration.fluxes if f.aggregation == "last"]
    # Of an ensemble its mean, where there is one.
    stores = [f for f in stores if "." not in f.name] or stores
    if not stores:
        return "<p>The model has none.</p>"
    split = [*scores][-1]
    nse = scores[split]["NSE"]
    order = [k for k in np.argsort(-nse) if np.isfinite(nse[k])] or [0]
    basin = ids[split][order[len(order) // 2]]
    one = dataset.basins([basin])
    series = predict(model, one, [f.name for f in stores])
    shown = slice(-round(730 / model.dt), None)
    panels = {f.name: (series[f.name][shown, 0], f.units) for f in stores}
    caption = f"of the median basin, {basin}, in the last two years"
    return _picture(caption, plots.storages, one.times[shown], panels)
