"""The normalisation statistics of a dmg run."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from ...errors import ImportDmgError
from ...io.files import read_json
from ...model.normalisation import FeatureStatistics
from .run_config import UNITS, DmgRun

FILE = "normalization_statistics.json"


def read_statistics(path: Path, run: DmgRun) -> dict[str, FeatureStatistics]:
    """Read the statistics of all inputs of the network, under the names that they have here."""
    content = read_json(path, ImportDmgError)
    if not isinstance(content, dict):
        raise ImportDmgError(f"{path}: must map names to statistics, it holds {type(content).__name__}")
    names = (*run.forcings, *run.attributes)
    missing = [n for n in names if n not in content]
    if missing:
        raise ImportDmgError(f"{path}: has no statistics of {', '.join(missing)}")
    statistics = {}
    for name in names:
        try:
            _, _, mean, std = (float(number) for number in content[name])
            if not (isfinite(mean) and isfinite(std) and std >= 0) or any(
                isinstance(number, bool) for number in content[name]
            ):
                raise ValueError("not finite")
        except (TypeError, ValueError, OverflowError) as problem:
            raise ImportDmgError(
                f"{path}: {name} must be [10th percentile, 90th percentile, mean, std], not {content[name]}"
            ) from problem
        symbol = run.symbols.get(name, name)
        statistics[symbol] = FeatureStatistics(
            mean, std, "log_sqrt" if name in run.logarithmic else "none", UNITS.get(symbol, "")
        )
    return statistics
