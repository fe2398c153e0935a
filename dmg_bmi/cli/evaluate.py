"""Score a trained model on any split of its data, in one forward and on request through its BMI.

It scores a run folder of `dmg-bmi train`, or a bundle, which records what it was trained on. With
--bmi it is also stepped through its BMI over the same forcing; status 2 says that the two do not agree.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import ConfigError, DmgBmiError
from .options import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..arrays import FloatingArray
    from ..io.timeseries import BasinDataset
    from ..model.bundle import BundleInfo
    from ..model.delta_model import DeltaModel
    from ..training import TrainingConfig

#: Allowed effect of splitting and of networks in float32 (docs/decisions.md): relative, and absolute for
#: fluxes that leave a row per step, and for stores and fluxes within it, mm.
RELATIVE, LEAVING, WITHIN = 1e-5, 1e-6, 1e-3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi evaluate``."""
    parser.add_argument("what", help=BUNDLE)
    parser.add_argument("--data", help="training configuration of other data and splits")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. data.path=/data/camels"
    )
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="train, validation, test, ungauged (default: all)"
    )
    parser.add_argument("--bmi", action="store_true", help="step it through its BMI too, and compare")
    parser.add_argument("--output", type=Path, metavar="CSV", help="write all metrics of all basins")
    parser.add_argument(
        "--series", type=Path, metavar="NC", help="write what was simulated, and beside it what was observed"
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi evaluate``."""
    from ..model.training_range import check_trained
    from ..training.config import bounds
    from ..training.data import require
    from ..training.evaluate import table, write_scores
    from ..training.experiment import Experiment

    info, config = find(arguments.what, arguments.data, arguments.set)
    experiment = Experiment.load(config)
    splits, dataset = experiment.splits, experiment.observed
    unknown = [name for name in arguments.split or () if name not in splits]
    if unknown:
        raise ConfigError(f"--split: no split {', '.join(unknown)}; available: {', '.join(splits)}")
    chosen = [splits[name] for name in arguments.split or splits]
    info, model = info.load()
    columns = sorted({column for split in chosen for column in split.columns})
    dataset = dataset.period(dataset.times[0], max(bounds(split.period)[1] for split in chosen))
    require(dataset, model, config.training.targets, columns)
    basins = dataset.columns(columns)
    check_trained(model.statistics, basins.attributes, basins.ids, set())
    scores = experiment.score(model, chosen)
    for split in scores:
        print(table(split), end="\n\n")
    if arguments.output:
        write_scores(arguments.output, scores)
        print(arguments.output)
    if arguments.series:
        write_series(arguments.series, model, basins, config.training.targets)
        print(arguments.series)
    if arguments.bmi:
        agreement = through_bmi(info, basins)
        print(agreement)
        if not agreement.kept:
            raise DmgBmiError(f"{info.path}: one forward and steps through the BMI do not agree")


def write_series(path: Path, model: DeltaModel, dataset: BasinDataset, targets: Sequence[str]) -> None:
    """Write targets as they were simulated and observed (``Q``, ``Q_observed``) into one NetCDF file."""
    from ..io import netcdf
    from ..training.evaluate import predict

    units = {name: dataset.units.get(name) or netcdf.STANDARD.get(name, ("",))[0] for name in targets}
    columns: dict[str, netcdf.Column] = {}
    series: dict[str, FloatingArray] = {}
    for name, values in predict(model, dataset, targets).items():
        columns |= {
            name: netcdf.Column(units[name], f"simulated {name}"),
            f"{name}_observed": netcdf.Column(units[name], f"observed {name}", role="target"),
        }
        series |= {name: values, f"{name}_observed": dataset.target[name]}
    with netcdf.Writer(path, dataset.ids, columns, dataset.step) as writer:
        writer.append(dataset.times, series)


def find(what: str, data: str | None, overrides: list[str]) -> tuple[BundleInfo, TrainingConfig]:
    """Return a bundle, and the training configuration of the data to score it on."""
    from ..model.bundle import BundleInfo
    from ..training import TrainingConfig
    from ..training.run_folder import RunFolder

    info, run = BundleInfo.read(what), RunFolder(Path(what))
    if data:
        return info, TrainingConfig.read(data, overrides)
    if run.is_run:
        return info, run.read_config(overrides)
    trained = info.provenance.get("training")
    if not isinstance(trained, dict):
        raise ConfigError(f"{info.path}: does not record its training data; give a configuration by --data")
    return info, TrainingConfig.from_stored(trained, f"{info.path}: training", overrides)


@dataclass(frozen=True)
class Agreement:
    """Differences between steps through the BMI and one forward.

    Parameters
    ----------
    steps, catchments : int
    largest : dict of flux to two floats
        Difference in the flux's unit, and as a share of the allowed one, where that is largest.
    """

    steps: int
    catchments: int
    largest: dict[str, tuple[float, float]]

    @property
    def kept(self) -> bool:
        """Return whether every difference is allowed."""
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
    import numpy as np
    import torch

    from ..io import netcdf
    from ..runtime.config import write_config
    from ..training.evaluate import predict
    from .driver import drive

    info, model = info.load()
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
