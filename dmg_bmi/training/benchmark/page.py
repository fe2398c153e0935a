"""The page of a benchmark, and its table of medians as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from ...arrays import BoolArray, FloatingArray
from ...io.timeseries import LATITUDE, LONGITUDE, BasinDataset
from ...plotting import training as plots
from ..page import picture, table, write_page
from .compare import compared
from .result import MEAN_FLOW, Model, Result

HEADER = (
    "basins",
    "NSE",
    "of the seeds",
    f"NSE of the {MEAN_FLOW}",
    "KGE",
    "FHV (%)",
    "FLV (%)",
    "CPU minutes",
)
#: Attributes by which basins are grouped, under the names that data sets give them, and the edges.
CLASSES = {
    "aridity (PET / P)": (("aridity", "aridity_FAO_PM"), (0.8, 1.2)),
    "share of precipitation as snow": (("frac_snow", "frac_snow_daily"), (0.1, 0.3)),
}


def write_benchmark_page(result: Result) -> Path:
    """Write the page of a benchmark: medians, tests, pictures, groups of basins, and every basin."""
    return write_page(result.page, f"benchmark {result.protocol.name}", _body(result))


def _body(result: Result) -> Iterator[str]:
    protocol = result.protocol
    yield f"<h1>{escape(protocol.name)}</h1>"
    periods = (
        f"{name} {start:%Y-%m-%d} to {end:%Y-%m-%d}"
        for name, (start, end) in protocol.periods.named().items()
    )
    facts = f"{protocol.summary}; here {len(result.dataset.ids)} basins; {', '.join(periods)}"
    yield f'<p class="quiet">{escape(facts)}. {escape(protocol.source)}</p>'
    yield "<h2>Medians over the basins, test years</h2>"
    yield table(["model", *HEADER], median_rows(result))
    if protocol.medians:
        rows = [[label, f"{value:.3f}"] for label, value in protocol.medians.items()]
        yield "<h2>Published medians over all basins of the protocol</h2>" + table(["model", "NSE"], rows)
    nse = scores_by_label(result)
    yield picture(
        "Share of basins below a score", plots.metric_cdf, {n: {"NSE": v} for n, v in nse.items()}, ("NSE",)
    )
    yield "<h2>Compared basin by basin</h2>" + _comparisons(nse)
    yield from _maps(result)
    yield from _groups(result.dataset, nse)
    yield "<h2>Basins</h2>" + _basins(result.dataset, nse)


def markdown(result: Result) -> str:
    """Return the medians as a table in Markdown."""
    lines = [["median NSE", *HEADER], ["---"] * (len(HEADER) + 1), *median_rows(result)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def median_rows(result: Result) -> list[list[str]]:
    """Return the lines of the table of medians: the models, then what was published of the same basins."""
    rows = [[name, *_medians(model)] for name, model in result.models.items()]
    for label, values in result.published.items():
        rows.append([label, _count(values), _median(values), *[""] * (len(HEADER) - 2)])
    return rows


def scores_by_label(result: Result) -> dict[str, FloatingArray]:
    """Return NSE by basin: of each model the mean of its seeds, and what was published."""
    return {name: model.mean("NSE") for name, model in result.models.items()} | dict(result.published)


def _medians(model: Model) -> list[str]:
    nse = model.mean("NSE")
    seeds = ", ".join(_median(values["NSE"]) for values in model.seeds.values())
    mean_flow = "" if model.mean_flow is None else _median(model.mean_flow["NSE"])
    rest = [_median(model.mean("KGE")), *(_median(model.mean(m), 1) for m in ("FHV", "FLV"))]
    over_seeds = np.mean([_finite_median(values["NSE"]) for values in model.seeds.values()])
    return [_count(nse), f"{over_seeds:.3f}", seeds, mean_flow, *rest, f"{model.minutes:.1f}"]


def _comparisons(nse: dict[str, FloatingArray]) -> str:
    """Compare the first model with all others."""
    (first, own), *others = nse.items()
    header = [
        "against",
        "basins",
        "better in",
        "median difference",
        "95 % of resampled basins",
        "sign test p",
    ]
    rows = []
    for name, values in others:
        c = compared(own, values)
        between = f"{c.low:+.3f} to {c.high:+.3f}"
        rows.append([name, str(c.basins), str(c.better), f"{c.difference:+.3f}", between, f"{c.p:.2g}"])
    return f"<p>{escape(first)} against each other model: NSE of the same basins.</p>" + table(header, rows)


def _maps(result: Result) -> Iterator[str]:
    attributes = result.dataset.attributes
    place = [next((attributes[n] for n in names if n in attributes), None) for names in (LONGITUDE, LATITUDE)]
    if place[0] is None or place[1] is None:
        return
    shown = {name: np.clip(values, 0, 1) for name, values in scores_by_label(result).items()}
    whole = {name: np.isfinite(values) for name, values in shown.items()}
    common = np.logical_and.reduce([*whole.values()])
    if not common.any():
        return
    yield "<h2>Where</h2>" + picture(
        "NSE at the gauges of basins that all have a score of, none shown below 0",
        plots.parameters,
        {name: values[common] for name, values in shown.items()},
        dict.fromkeys(shown, (0.0, 1.0)),
        dict.fromkeys(shown, ""),
        (place[0][common], place[1][common]),
        True,
    )


def _groups(dataset: BasinDataset, nse: dict[str, FloatingArray]) -> Iterator[str]:
    """Yield medians by classes of climate."""
    for title, (names, edges) in CLASSES.items():
        values = next((dataset.attributes[n] for n in names if n in dataset.attributes), None)
        if values is None:
            continue
        rows = []
        for label, members in _classes(values, edges):
            if not members.any():
                continue
            medians = [_median(scores[members]) for scores in nse.values()]
            rows.append([label, str(int(members.sum())), *medians])
        yield f"<h2>By {escape(title)}</h2>" + table(["", "basins", *nse], rows)


def _classes(values: FloatingArray, edges: Sequence[float]) -> Iterator[tuple[str, BoolArray]]:
    bounds = [-np.inf, *edges, np.inf]
    for low, high in pairwise(bounds):
        label = (
            f"below {high:g}"
            if low == -np.inf
            else f"{low:g} to {high:g}"
            if high < np.inf
            else f"above {low:g}"
        )
        yield label, (values >= low) & (values < high)


def _basins(dataset: BasinDataset, nse: dict[str, FloatingArray]) -> str:
    """Return all basins, those first in which the first model falls furthest behind the best other one."""
    own, *others = nse.values()
    best = np.nanmax(np.where(np.isnan(others), -np.inf, others), axis=0) if others else own
    lost = np.where(np.isfinite(own) & np.isfinite(best), own - best, np.inf)
    attributes = [
        next((dataset.attributes[n] for n in names if n in dataset.attributes), None)
        for names, _ in CLASSES.values()
    ]
    shown = {title: a for title, a in zip(CLASSES, attributes, strict=True) if a is not None}
    rows = [
        [dataset.ids[k], *(f"{a[k]:.2f}" for a in shown.values()), *(f"{v[k]:.3f}" for v in nse.values())]
        for k in map(int, np.argsort(lost, kind="stable"))
    ]
    return "<p>Worst for the first model first.</p>" + table(["basin", *shown, *nse], rows)


def _finite_median(values: FloatingArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _median(values: FloatingArray, digits: int = 3) -> str:
    return f"{_finite_median(values):.{digits}f}"


def _count(values: FloatingArray) -> str:
    return str(int(np.isfinite(values).sum()))
