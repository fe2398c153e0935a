"""Cross-fitting: trainings that each leave out a part of the years, so that every year is new to one of them.

A model errs less in the years that it was trained on than it will in others; what is learned of its errors is
learned of those in years that it has not seen (Chernozhukov et al., 2018, https://doi.org/10.1111/ectj.12097).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from ..errors import ConfigError
from .config import Period, TrainingConfig
from .experiment import train
from .run_folder import RunFolder

log = logging.getLogger("dmg_bmi")


def parts(period: Period, count: int) -> list[Period]:
    """Cut a period into parts of the same number of days, which follow each other.

    Raises
    ------
    ConfigError
        If there are less than two parts, or one would be shorter than two days.
    """
    start, end = period
    days = (end - start).days + 1
    if not 2 <= count <= days // 2:
        raise ConfigError(
            f"the training period of {days} days can be cut into 2 to {days // 2} parts, not {count}"
        )
    begins = [start + timedelta(days=days * k // count) for k in range(count + 1)]
    return [(first, following - timedelta(days=1)) for first, following in pairwise(begins)]


def cross_fit(config: TrainingConfig, folder: Path, count: int) -> list[tuple[Period, RunFolder]]:
    """Train a configuration again, once without each part of its training period.

    Parameters
    ----------
    config : TrainingConfig
    folder : Path
        Of the run folders: ``without-1-of-3`` and so on. A finished one is read back, one that was stopped
        resumes.
    count : int
        Parts.

    Returns
    -------
    list of pairs
        Each part, and the run that has not learned from it.

    Raises
    ------
    ConfigError
        If the training period cannot be cut so, or the configuration withholds a part itself.
    TrainingError
        If a folder holds the run of another configuration; see :func:`~dmg_bmi.training.train`, too.
    """
    if config.periods.withheld is not None:
        raise ConfigError(f"{config.name}: periods.withheld is set already; take it out")
    runs = []
    for number, part in enumerate(parts(config.periods.train, count), start=1):
        files = RunFolder(folder / f"without-{number}-of-{count}")
        one = replace(config, periods=replace(config.periods, withheld=part))
        if not files.holds(one):
            log.info("%s: trains", files.path)
            train(one, files.path)
        runs.append((part, files))
    return runs
