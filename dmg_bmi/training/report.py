"""A finished run on one page: HTML that needs no other file and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch

from ..arrays import FloatingArray
from ..errors import ConfigError
from ..io import netcdf
from ..io.files import read_text
from ..io.timeseries import LATITUDE, LONGITUDE, BasinDataset
from ..model.bundle import BundleInfo
from ..model.delta_model import DeltaModel
from ..plotting import training as plots
from ..plotting.hydrographs import pyplot
from . import run_folder
from .config import TrainingConfig
from .data import tensors
from .evaluate import predict, read_scores
from .history import History
from .page import image_file, picture, table, write_page
from .run_folder import RunFolder

SHOWN = {"NSE": "", "KGE": "", "RMSE": "mm", "bias": "%", "FHV": "%", "FLV": "%"}
HEADER = [f"{metric} ({unit})" if unit else metric for metric, unit in SHOWN.items()]
#: Split to metric to value by basin.
Table = Mapping[str, Mapping[str, FloatingArray]]


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder.

    Raises
    ------
    ConfigError
        If the folder holds no finished run.
    """
    pyplot()  # a missing matplotlib is reported before the work
    files = RunFolder(Path(folder))
    files.require_finished()
    config = files.read_config()
    return write_page(files / run_folder.REPORT, config.name, _body(files, config))


def _body(files: RunFolder, config: TrainingConfig) -> list[str]:
    info, model = BundleInfo.read(files / run_folder.BUNDLE).load()
    dataset = netcdf.read(files / run_folder.FORCING)
    read = read_scores(files / run_folder.METRICS, config.training.targets[0])
    ids, scores = {n: s.ids for n, s in read.items()}, {n: s.values for n, s in read.items()}
    history = History.read(files / run_folder.HISTORY)
    losses = " + ".join(config.training.loss)
    return [
        f"<h1>{escape(config.name)}</h1>",
        f'<p class="quiet">{escape(config.summary)}</p>',
        _facts(config, info, dataset, model),
        "<h2>Medians</h2>",
        table(["split", "basins", *HEADER], [_medians(split, scores[split]) for split in scores]),
        picture("Share of basins below a score", plots.metric_cdf, scores, ("NSE", "KGE", "r")),
        "<h2>Hydrographs</h2>",
        *(
            image_file(files.hydrograph(rank), f"the {rank} basin by NSE, its last two years")
            for rank in run_folder.RANKS
        ),
        "<h2>Training</h2>",
        picture("of each step, and smoothed", plots.training_curve, history.loss, history.scores, losses),
        "<h2>Parameters</h2>",
        *_parameters(model, dataset),
        "<h2>Storages</h2>",
        _storages(model, dataset, ids, scores),
        "<h2>Basins</h2>",
        *(_basins(split, ids[split], values) for split, values in scores.items()),
        "<h2>Configuration</h2>",
        f"<pre>{escape(read_text(files / run_folder.CONFIG, ConfigError))}</pre>",
    ]


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
        "steps": f"{options.max_steps} of {options.batch_size} windows of {options.seq_length} days, "
        f"seed {options.seed}",
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
    rows = [
        [ids[k], *(_number(float(values[m][k]), unit) for m, unit in SHOWN.items())]
        for k in map(int, np.argsort(-nse))
    ]
    opened = " open" if split in ("test", "ungauged") else ""
    text = table(["basin", *HEADER], rows)
    return f"<details{opened}><summary>{escape(split)}, best first</summary>{text}</details>"


def _number(value: float, unit: str = "") -> str:
    digits = 1 if unit == "%" else 3
    return f"{value:.{digits}f}" if not abs(value) >= 1e4 else f"{value:.1e}"


def _parameters(model: DeltaModel, dataset: BasinDataset) -> list[str]:
    """Draw parameters: means of the last year where they change in time, and over parallel components."""
    data = tensors(dataset, model.forcing_names, model.attribute_names, ())
    year = round(365 / model.dt)
    forcing = {name: values[-2 * year :] for name, values in data.forcing.items()}
    with torch.no_grad():
        parameters = model.row_parameters(forcing, data.attributes)
    if not parameters:
        return ["<p>None: the networks stand alone.</p>"]
    values, bounds, units = {}, {}, {}
    for name, tensor in parameters.items():
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
    return [picture(caption, plots.parameters, values, bounds, units, places)]


def _storages(
    model: DeltaModel, dataset: BasinDataset, ids: Mapping[str, Sequence[str]], scores: Table
) -> str:
    stores = [f for f in model.declaration.fluxes if f.aggregation == "last"]
    # An ensemble's mean where there is one.
    stores = [f for f in stores if "." not in f.name] or stores
    if not stores:
        return "<p>The model has none.</p>"
    split = [*scores][-1]
    nse = scores[split]["NSE"]
    order = [k for k in map(int, np.argsort(-nse)) if np.isfinite(nse[k])] or [0]
    basin = ids[split][order[len(order) // 2]]
    single = dataset.basins([basin])
    series = predict(model, single, [f.name for f in stores])
    shown = slice(-round(730 / model.dt), None)
    panels = {f.name: (series[f.name][shown, 0], f.units) for f in stores}
    caption = f"of the median basin, {basin}, in the last two years"
    return picture(caption, plots.storages, single.times[shown], panels)
