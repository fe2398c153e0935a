"""A benchmark: every model of a protocol, with every seed, to one table and one page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...arrays import FloatingArray
from ...errors import ConfigError, alternatives
from ...io.atomic import make_folder
from ...io.csv_table import CsvTable
from ...plotting.hydrographs import pyplot
from ..checkpoint import writing
from .page import write_benchmark_page
from .protocol import Protocol
from .result import Model, Result
from .rivals import Options, configured, joined, of_mean_flow, runs

log = logging.getLogger("dmg_bmi")
#: Table of published figures beside the data.
PUBLISHED = "published_nse.csv"


def benchmark(
    protocol: str | Path,
    options: Options,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    published: str | Path | None = None,
) -> Result:
    """Run the models of a protocol on the basins that the data have, and write a table and a page.

    Parameters
    ----------
    protocol : path
        A file, or the name of a shipped one: ``kratzert``, ``feng``, ``pub``, ``pur``.
    options : Options
        Called again with the same folder, finished runs are read back, and one that was stopped resumes.
    models : sequence of str
        Some of the protocol's rivals; all by default.
    seeds : sequence of int
    published : path, optional
        CSV file of published NSE, ids in its first column, a column for each label of the protocol; by
        default ``published_nse.csv`` beside the data.

    Raises
    ------
    ConfigError, ForcingError, AttributeTableError, TrainingError
        Naming what is wrong.
    """
    pyplot()  # a missing matplotlib is reported before the work
    rules = Protocol.read(protocol)
    unknown = [name for name in models if name not in rules.rivals]
    if unknown:
        raise ConfigError(f"{rules.name}: no model {unknown[0]!r}; {alternatives(unknown[0], rules.rivals)}")
    names = [name for name in rules.rivals if not models or name in models]
    with writing(options.folder):
        make_folder(options.folder)
    first = configured(rules, names[0], options)
    dataset = first.data.read()
    dataset = dataset.basins(rules.select(dataset.ids))
    log.info("%s: %d basins", rules.name, len(dataset.ids))
    figures = _published(rules, dataset.ids, _published_file(published, first.data))
    scores = {name: _run(rules, name, options, seeds, dataset.ids) for name in names}
    result = Result(options.folder, rules, dataset, scores, figures)
    with writing(options.folder):
        result.write_table()
    write_benchmark_page(result)
    return result


def _run(
    protocol: Protocol, name: str, options: Options, seeds: Sequence[int], basins: Sequence[str]
) -> Model:
    finished = {seed: list(runs(protocol, name, options, seed, basins)) for seed in seeds}
    minutes = float(np.mean([sum(run.minutes for run in of) for of in finished.values()]))
    mean_flow = of_mean_flow([*finished.values()], basins) if len(seeds) > 1 else None
    return Model({seed: joined(of, basins) for seed, of in finished.items()}, mean_flow, minutes)


def _published_file(path: str | Path | None, data: object) -> Path | None:
    """Return the file that is given, or the one beside the data if there is one."""
    if path is not None:
        return Path(path)
    folder = getattr(data, "path", None)
    beside = None if folder is None else Path(folder) / PUBLISHED
    return beside if beside is not None and beside.is_file() else None


def _published(protocol: Protocol, ids: Sequence[str], path: Path | None) -> dict[str, FloatingArray]:
    """Read the published NSE of each basin, by label."""
    if path is None:
        return {}
    table = CsvTable.read(path, ConfigError)
    row = table.rows()
    present = [k for k, basin in enumerate(ids) if basin in row]
    result = {}
    for column, label in protocol.published.items():
        if column in table.columns:
            result[label] = np.full(len(ids), np.nan)
            result[label][present] = table.numbers(column, [row[ids[k]] for k in present])
    return {label: values for label, values in result.items() if np.isfinite(values).any()}
