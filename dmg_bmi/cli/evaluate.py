"""Score a trained model on any split of its data, in one forward and on request through its BMI.

Given is a run folder of `dmg-bmi train`, or a bundle, which remembers what it was trained on. With
--bmi it is also stepped through its BMI over the same forcing; status 2 says that the two do not agree.
"""

from __future__ import annotations

import argparse
import os
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import ConfigError, DmgBmiError
from ..model.bundle import BundleInfo
from ..model.training_range import check_trained

if TYPE_CHECKING:
    from ..io.timeseries import BasinDataset
    from ..training import TrainingConfig

#: What splitting and networks in float32 may change (docs/decisions.md): relative, and absolute of what
#: leaves a row per step, and of stores and fluxes within it, mm.
RELATIVE, LEAVING, WITHIN = 1e-5, 1e-6, 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi evaluate``."""
    parser.add_argument("what", help="run folder, bundle folder, or a shipped bundle's name")
    parser.add_argument("--data", help="training configuration whose data and splits to take instead")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. data.path=/data/camels"
    )
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="train, validation, test, ungauged (default: all)"
    )
    parser.add_argument("--bmi", action="store_true", help="step it through its BMI too, and compare")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write all metrics of all basins")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi evaluate``."""
    from ..training.config import bounds
    from ..training.data import require
    from ..training.evaluate import evaluate, table, write_scores
    from ..training.experiment import between, read
    from ..training.splits import splits

    info, config = find(given.what, given.data, given.set)
    dataset = between(read(config), config)
    parts = splits(config, dataset)
    unknown = [name for name in given.split or () if name not in parts]
    if unknown:
        raise ConfigError(f"--split: there is no {', '.join(unknown)}; there is {', '.join(parts)}")
    chosen = [parts[name] for name in given.split or parts]
    model = info.load_model()
    columns = sorted({column for split in chosen for column in split.columns})
    dataset = dataset.period(dataset.times[0], max(bounds(split.period)[1] for split in chosen))
    require(dataset, model, config.training.targets, columns)
    some = dataset.columns(columns)
    check_trained(model.statistics, some.attributes, some.ids, set())
    scores = evaluate(model, dataset, chosen, config.training.targets, config.periods.spin_up)
    for one in scores:
        print(table(one), end="\n\n")
    if given.output:
        write_scores(given.output, scores)
        print(given.output)
    if given.bmi:
        agreement = through_bmi(info, some)
        print(agreement)
        if not agreement.kept:
            raise DmgBmiError(f"{info.path}: one forward and steps through the BMI do not agree")


def find(what: str, data: str | None, overrides: list[str]) -> tuple[BundleInfo, TrainingConfig]:
    """A bundle, and the training configuration that says on what to score it."""
    from ..training import TrainingConfig

    folder = Path(what)
    if os.path.exists(folder / "config.yaml") and os.path.isdir(folder / "bundle"):
        info = BundleInfo.read(folder / "bundle")
        return info, TrainingConfig.read(data or folder / "config.yaml", overrides)
    info = BundleInfo.read(what)
    if data:
        return info, TrainingConfig.read(data, overrides)
    trained = info.provenance.get("training")
    if not isinstance(trained, dict):
        raise ConfigError(f"{info.path}: does not say on what it was trained; give a configuration by --data")
    return info, TrainingConfig.from_plain(deepcopy(trained), f"{info.path}: training", overrides)


@dataclass(frozen=True)
class Agreement:
    """How far steps through the BMI are from one forward.

    Parameters
    ----------
    steps, catchments : int
    largest : dict of flux to two floats
        Difference in the flux's unit, and as a share of what is allowed, where that is largest.
    """

    steps: int
    catchments: int
    largest: dict[str, tuple[float, float]]

    @property
    def kept(self) -> bool:
        """Whether every difference is allowed."""
        return all(share <= 1.0 for _, share in self.largest.values())

    def __str__(self) -> str:
        verdict = "agree" if self.kept else "do not agree"
        lines = [
            f"{self.steps} steps of {self.catchments} catchments through the BMI and one forward {verdict}:"
        ]
        width = max(len(name) for name in self.largest)
        for name, (difference, share) in self.largest.items():
            lines.append(
                f"  {name:<{width}}  differs by at most {difference:.1e}, {share:.1%} of what is allowed"
            )
        return "\n".join(lines)


def through_bmi(info: BundleInfo, dataset: BasinDataset) -> Agreement:
    """Step a bundle over a dataset by ``dmg-bmi run``, and compare its fluxes with one forward.

    The forward has networks in float32 and equations in float64, as the BMI runs them.
    """
    from ..io import netcdf
    from ..runtime.config import write_config
    from ..training.evaluate import predict
    from .driver import drive

    model = info.load_model()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_config(folder / "bmi.yaml", str(info.path), dataset, model.attribute_names)
        netcdf.write(folder / "forcing.nc", dataset)
        result = drive(folder / "bmi.yaml", folder / "forcing.nc", folder, picture=False)
        stepped = netcdf.read(result.output)
    fluxes = {f.name for f in model.declaration.fluxes}
    compared = [v for v in info.variables if v.symbol in fluxes and v.symbol in stepped.forcing]
    expected = predict(model, dataset, [v.symbol for v in compared], torch.float64)
    leaving = {name for balance in model.declaration.balances for name in balance.out}
    largest = {}
    for variable in compared:
        absolute = LEAVING if variable.symbol in leaving else WITHIN
        scale, offset = variable.from_model()
        values = (stepped.forcing[variable.symbol] - offset) / scale
        difference = np.abs(values - expected[variable.symbol])
        share = difference / (RELATIVE * np.abs(expected[variable.symbol]) + absolute)
        largest[variable.symbol] = (float(difference.max()), float(share.max()))
    return Agreement(len(dataset.times), len(dataset.ids), largest)
