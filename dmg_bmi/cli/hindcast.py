"""Forecast the past again and again, states brought in line with the gauges, and score it by lead time.

For each issue rain and stores of a window are adjusted to the flow that was observed in it (variational
assimilation), and what is left of the error is carried on; the weather ahead is that which came. Error
corrections are fitted in the training period. Beside it stand persistence, the model without observations
(open loop), and the open loop with its errors corrected; and a network that learns in the training period
how far forecasts are off, and how sure that is. Its quantiles are calibrated in the validation period.

A model errs less in the years that it was trained on than it will in others. With --cross-fit the training is
repeated without each part of its years, and errors are those of the years left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .options import BUNDLE

if TYPE_CHECKING:
    import numpy as np

    from ..arrays import FloatArray
    from ..forecast import Assimilation, Distribution, Hindcast, LearnedError
    from ..io.timeseries import BasinDataset
    from ..model.delta_model import DeltaModel
    from ..training.config import Period
    from ..training.experiment import Experiment

SHOWN = ("NSE", "KGE", "bias")
#: Files of a hindcast; the last makes the others valid.
RESULTS = ("skill.csv", "distribution.csv", "reliability.png", "ranks.png", "fan.png", "hindcast.nc")
#: Folder of what is done while the work goes on.
KEPT = "hindcast.dmg_bmi"
#: Steps of a fan chart.
DRAWN = 120

#: After Ctrl-C.
GOES_ON = "the same command goes on from the forecasts that were done"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi hindcast``."""
    parser.add_argument("what", help=BUNDLE)
    parser.add_argument("--data", help="training configuration of other data and splits")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. data.path=/data/camels"
    )
    parser.add_argument("--split", default="test", metavar="NAME", help="period and basins (default: test)")
    parser.add_argument("--leads", type=int, default=7, help="steps that a forecast looks ahead (default: 7)")
    parser.add_argument("--every", type=int, default=1, help="steps between forecasts (default: 1)")
    parser.add_argument(
        "--fit-every", type=int, default=2, help="the same in training and validation (default: 2)"
    )
    parser.add_argument(
        "--cross-fit",
        type=int,
        metavar="N",
        help="train N times again, each time without another part of the training period, and learn from "
        "errors in the parts left out; run folders are made below --output",
    )
    parser.add_argument("--assimilation", type=Path, metavar="YAML", help="options of the analysis")
    parser.add_argument(
        "--save-bundle",
        type=Path,
        metavar="DIR",
        help="save the bundle with its learned error, for dmg-bmi forecast; DIR may be its own",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where files are written")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi hindcast``."""
    from ..errors import ConfigError
    from ..forecast import Assimilation, LearnedError, stored_error
    from ..forecast.parts import forget
    from ..io.atomic import make_folder, replacing_together
    from ..io.typed_yaml import from_mapping, read_yaml
    from ..plotting.hydrographs import pyplot
    from ..training.experiment import Experiment
    from .evaluate import find

    pyplot()  # before the work
    file = arguments.assimilation
    options = Assimilation() if file is None else from_mapping(Assimilation, read_yaml(file), str(file))
    for name in ("leads", "every", "fit_every"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1")
    info, config = find(arguments.what, arguments.data, arguments.set)
    experiment = Experiment.load(config)
    unknown = [name for name in ("train", arguments.split) if name not in experiment.splits]
    if unknown:
        raise ConfigError(f"no split {unknown[0]}; available: {', '.join(experiment.splits)}")
    info, model = info.load()
    work = _Work(arguments, experiment, options, model)
    if arguments.save_bundle is not None:
        make_folder(arguments.save_bundle)  # whether there is a place for it shows before the work
    results = [arguments.output / name for name in RESULTS]
    with replacing_together(results) as made:
        fit = work.learned_from()
        scored = work.forecasts(arguments.split, arguments.every)
        error = LearnedError.fit(fit)
        if "validation" in work.parts and arguments.split != "validation":
            error = error.calibrated(work.forecasts("validation", arguments.fit_every))
        said = _write_all(made[0].parent, scored, fit, error, info.name)
    print(said)
    print(results[-1])
    if arguments.save_bundle is not None:
        print(info.copy(arguments.save_bundle, stored_error.to_part(error, info)).path)
    forget(
        arguments.output / KEPT
    )  # last: where the bundle has no place, the same command goes on from there


class _Work:
    """What a command hindcasts; all that can be refused is, before the work."""

    def __init__(
        self, arguments: argparse.Namespace, experiment: Experiment, options: Assimilation, model: DeltaModel
    ) -> None:
        from ..training.cross_fitting import parts

        self.arguments, self.experiment, self.options, self.model = arguments, experiment, options, model
        if arguments.cross_fit is not None:
            parts(experiment.config.periods.train, arguments.cross_fit)
        self.parts = {
            name: self._part(model, experiment.splits[name].period)
            for name in dict.fromkeys(("train", "validation", arguments.split))
            if name in experiment.splits
        }

    def _part(self, model: DeltaModel, period: Period) -> Part:
        return _part(self.experiment, model, period, self.arguments.split, self.options)

    def forecasts(self, split: str, every: int) -> Hindcast:
        """Hindcast the period of a split."""
        return self._hindcast(self.model, self.parts[split], every, split)

    def learned_from(self) -> Hindcast:
        """Hindcast the training period: by the model, or by those that were trained without its parts."""
        from ..forecast import Hindcast
        from ..model.bundle import BundleInfo
        from ..training.cross_fitting import cross_fit
        from ..training.run_folder import BUNDLE as OF_RUN

        arguments = self.arguments
        if arguments.cross_fit is None:
            return self.forecasts("train", arguments.fit_every)
        found = []
        for period, files in cross_fit(self.experiment.config, arguments.output, arguments.cross_fit):
            model = BundleInfo.read(files / OF_RUN).load()[1]
            part = self._part(model, period)._replace(typical=self.parts["train"].typical)
            found.append(self._hindcast(model, part, arguments.fit_every, files.path.name))
        return Hindcast.joined(found)

    def _hindcast(self, model: DeltaModel, part: Part, every: int, name: str) -> Hindcast:
        from ..forecast import hindcast

        keep = self.arguments.output / KEPT / f"{name}-{every}"
        return hindcast(model, *part, self.options, self.arguments.leads, every, keep)


def _write_all(folder: Path, scored: Hindcast, fit: Hindcast, error: LearnedError, bundle: str) -> str:
    """Write all results into a folder; return what is said of them."""
    distributions = {"learned": error(scored), "learned_without_observations": error(scored.blind())}
    mean = distributions["learned"].mean
    forecasts = _kinds(scored, fit) | {
        "learned": (mean, "flow expected of the analysis by its learned error")
    }
    _write(folder, scored, forecasts, distributions["learned"], bundle)
    said = _write_distributions(folder, scored, distributions, calibrated=error.calibrations is not None)
    return f"{_table(scored, forecasts)}\n{said}"


class Part(NamedTuple):
    """What is hindcast: data from the begin of the spin-up on, the first and the last issue, typical flow."""

    dataset: BasinDataset
    first: np.datetime64
    last: np.datetime64
    typical: FloatArray


def _part(
    experiment: Experiment, model: DeltaModel, period: Period, basins: str, options: Assimilation
) -> Part:
    """Return what is hindcast of a period, for the basins of a split."""
    import numpy as np

    from ..errors import ForcingError
    from ..model.training_range import check_trained
    from ..training.config import bounds
    from ..training.data import require
    from ..training.losses import FLOW

    columns = experiment.splits[basins].columns
    start, end = bounds(period)
    dataset = experiment.dataset.columns(columns)
    spin_up = np.timedelta64(round((experiment.spin_up + options.window) * dataset.step), "s")
    dataset = dataset.period(max(dataset.times[0], start - spin_up), end)
    require(dataset, model, (FLOW,))
    check_trained(model.statistics, dataset.attributes, dataset.ids, set())
    known = experiment.training_period.columns(columns).target[FLOW]
    unknown = np.flatnonzero(np.isnan(known).all(0))
    if len(unknown):
        raise ForcingError(
            f"basin {dataset.ids[unknown[0]]}: no flow was observed in the training period, which tells its "
            f"typical flow (nor for {len(unknown) - 1} more basins); leave it out of data.basins"
        )
    return Part(dataset, max(start, dataset.times[0] + spin_up), end, np.nanmean(known, axis=0))


def _kinds(scored: Hindcast, fit: Hindcast) -> dict[str, tuple[FloatArray, str]]:
    """Return each kind of forecast and what it is, by its name."""
    open_loop, analysed = fit.correction(fit.open_loop), fit.correction(fit.analysed)
    return {
        "persistence": (scored.persistence(), "latest observed flow"),
        "open_loop": (scored.open_loop.flow, "flow without observations"),
        "open_loop_corrected": (
            scored.corrected(scored.open_loop, open_loop),
            "flow without observations, its errors corrected",
        ),
        "analysed": (scored.analysed.flow, "flow from the analysis"),
        "analysed_corrected": (
            scored.corrected(scored.analysed, analysed),
            "flow from the analysis, its errors corrected",
        ),
    }


def _write(
    folder: Path,
    scored: Hindcast,
    forecasts: dict[str, tuple[FloatArray, str]],
    learned: Distribution,
    bundle: str,
) -> None:
    """Write all forecasts as NetCDF, and their scores by lead and basin as CSV."""
    from ..io import forecast_netcdf
    from ..io.csv_table import write_csv
    from ..model.variables import quantile_name
    from ..training.probabilistic import LEVELS, WRITTEN

    described = forecasts | {"observed": (scored.observed, "observed flow")}
    series = {
        name: forecast_netcdf.ForecastSeries(values, meaning) for name, (values, meaning) in described.items()
    }
    for level in WRITTEN:
        values, meaning = learned.quantiles[LEVELS.index(level)], f"quantile {level:g} of flow"
        series[quantile_name("learned", level)] = forecast_netcdf.ForecastSeries(
            values, meaning, quantile=level
        )
    forecast_netcdf.write(
        folder / "hindcast.nc", scored.ids, scored.issued, scored.step, series, title=f"hindcast by {bundle}"
    )
    rows: list[list[str]] = []
    for kind, (flow, _) in forecasts.items():
        by_metric = {metric: scored.skill(flow, metric) for metric in SHOWN}
        for lead in range(flow.shape[1]):
            for column, name in enumerate(scored.ids):
                values = (f"{by_metric[metric][lead, column]:.4f}" for metric in SHOWN)
                rows.append([kind, str(lead + 1), name, *values])
    write_csv(folder / "skill.csv", ["forecast", "lead", "basin", *SHOWN], rows)


def _write_distributions(
    folder: Path, scored: Hindcast, distributions: dict[str, Distribution], calibrated: bool
) -> str:
    """Write scores of distributions by lead and basin, and pictures; return the medians as text."""
    import numpy as np

    from ..io.csv_table import write_csv
    from ..plotting.distributions import fan_chart, rank_histogram, reliability_diagram
    from ..training.probabilistic import LEVELS, SCORES, per_basin, ranks, reliability

    rows: list[list[str]] = []
    lines = [f"{LEVELS[-1] - LEVELS[0]:.0%} intervals" + ("" if calibrated else ", not calibrated")]
    for kind, distribution in distributions.items():
        for lead in range(scored.observed.shape[1]):
            scores = per_basin(distribution.quantiles[:, :, lead], LEVELS, scored.observed[:, lead])
            for column, name in enumerate(scored.ids):
                rows.append([kind, str(lead + 1), name, *(f"{scores[s][column]:.4f}" for s in SCORES)])
            shown = (f"{s} {_median(scores[s]):.3f}" for s in ("CRPS", "CRPSS", "coverage", "width"))
            lines.append(f"{kind}, lead {lead + 1}: " + ", ".join(shown))
    write_csv(folder / "distribution.csv", ["forecast", "lead", "basin", *SCORES], rows)
    learned = distributions["learned"].quantiles
    shares = {
        f"lead {lead + 1}": reliability(learned[:, :, lead], scored.observed[:, lead])
        for lead in sorted({0, scored.observed.shape[1] - 1})
    }
    reliability_diagram(folder / "reliability.png", LEVELS, shares, "learned error")
    first = ranks(learned[:, :, 0], scored.observed[:, 0])
    rank_histogram(folder / "ranks.png", first, len(LEVELS), "next step, quantiles of the learned error")
    skill = scored.skill(distributions["learned"].mean)[0]
    middle = int(np.argsort(np.nan_to_num(skill, nan=-np.inf))[len(skill) // 2])
    some = slice(-DRAWN, None)
    title = f"basin {scored.ids[middle]}, forecasts of the next step"
    times, observed = scored.issued[some], scored.observed[some, 0, middle]
    fan_chart(folder / "fan.png", times, learned[:, some, 0, middle], LEVELS, observed, title)
    return "\n".join(lines)


def _table(scored: Hindcast, forecasts: dict[str, tuple[FloatArray, str]]) -> str:
    """Return the median NSE of each kind by lead, and in how many basins the analysis helps."""
    skills = {kind: scored.skill(flow) for kind, (flow, _) in forecasts.items()}
    leads = range(scored.observed.shape[1])
    width = max(map(len, skills))
    lines = [f"{len(scored.issued)} forecasts of {len(scored.ids)} basins; median NSE by lead"]
    lines.append(" " * width + "".join(f"{lead + 1:>7}" for lead in leads))
    for kind, skill in skills.items():
        lines.append(f"{kind:{width}}" + "".join(f"{_median(skill[lead]):7.3f}" for lead in leads))
    best = skills["analysed_corrected"]
    for kind in ("open_loop", "open_loop_corrected"):
        better = (best > skills[kind]).sum(1)
        lines.append(f"analysed_corrected is above {kind} in " + ", ".join(map(str, better)) + " basins")
    return "\n".join(lines)


def _median(values: np.ndarray) -> float:
    import numpy as np

    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")
