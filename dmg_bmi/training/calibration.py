"""Calibration of process models basin by basin: free parameters from many random starts, by gradients.

Every start of every basin is one row of a batch. The parameters of a row are weights of their own, scaled
to the declared bounds as a network's outputs are; the trainer, its windows, losses, schedule and
checkpoints are those of any training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import FloatArray
from ..errors import ConfigError, TrainingError
from ..io.csv_table import write_csv
from ..io.timeseries import BasinDataset
from ..model.delta_model import DeltaModel
from ..model.registry import build_process_model, descriptions
from ..model.roles import ParameterRole
from ..nn_models import Network
from ..physics import Parameter, ProcessModel
from . import checkpoint, run_folder
from .config import Basins, Overrides, TrainingConfig, bounds
from .data import Batch, Tensors, tensors
from .experiment import Experiment, Run, claimed, conclude, configured, measured_step
from .forward import simulate
from .history import History
from .losses import Objective
from .readers.attributes import with_table
from .run_folder import RunFolder
from .trainer import fit

if TYPE_CHECKING:
    import xarray

log = logging.getLogger("dmg_bmi")
#: The attribute that tells a row which weights are its own.
ROW = "row"
#: Random starts lie within these shares of a parameter's range.
FIRST, LAST = 0.05, 0.95


def calibrate(
    config: str | Path | TrainingConfig,
    folder: str | Path,
    overrides: Overrides = (),
    *,
    data: xarray.Dataset | BasinDataset | None = None,
) -> Run:
    """Calibrate a process model in each basin for itself.

    Parameters
    ----------
    config : path or TrainingConfig
        A file, or the name of a shipped one, such as ``calibrate``. Its ``model`` has one process
        model and no networks.
    folder : path
        The run folder, as of :func:`~dmg_bmi.training.train`, with the parameters of each basin in
        ``parameters.csv``, and of all of its starts in ``starts.csv``. An interrupted run resumes.
    overrides, data
        As of :func:`~dmg_bmi.training.train`.

    Raises
    ------
    ConfigError, ForcingError, AttributeTableError
        Naming what is wrong in the file or the data.
    TrainingError
        As :func:`~dmg_bmi.training.train` does.

    Notes
    -----
    Of a basin's starts the one with the lowest loss over the validation period is kept, or without
    one that of the training period.
    """
    files = RunFolder(Path(folder))
    config = configured(config, files, overrides, data)
    process_model = _process_model(config)
    with claimed(files, config, data) as device:
        experiment, model = _prepare(config, process_model)
        files.write_config(config)
        begun = time.perf_counter()
        groups = _groups(experiment, model, files)
        results = [group.result(device) for group in groups]
        history = _joined_history(results, time.perf_counter() - begun)
        _write_starts(files / run_folder.STARTS, experiment, model, results)
        best = np.concatenate([result.best for result in results])
        run = _conclude(experiment, model, files, best, history)
        with checkpoint.writing(files.path):
            for group in groups:
                group.saved.unlink()
    return run


def seconds_per_calibration_step(config: TrainingConfig) -> float:
    """Measure the CPU seconds of a step of all basins."""
    experiment, model = _prepare(config, _process_model(config))
    groups = _groups(experiment, model, RunFolder(Path()))
    return groups[0].seconds_per_step() * len(experiment.splits["train"].columns)


def free_model(process_model: ProcessModel, fixed: dict[str, float], step: float) -> DeltaModel:
    """Return a model without networks, whose parameters, but for `fixed` ones, are attributes of a row."""
    free = {p.name: columns(p) for p in process_model.declaration.parameters if p.name not in fixed}
    return DeltaModel(phy_model=process_model, fixed={**fixed, **free}, step=step)


def columns(parameter: Parameter) -> list[str]:
    """Return the names of a parameter's values in a table: ``FC``, or ``FC_1``, ``FC_2``, ... ."""
    if parameter.size == 1:
        return [parameter.name]
    return [f"{parameter.name}_{k}" for k in range(1, parameter.size + 1)]


def _process_model(config: TrainingConfig) -> ProcessModel:
    """Return the only process model of a configuration."""
    described = descriptions(config.model.phy_model, "phy")
    if config.model.nn or len(described) != 1 or config.training.ensemble > 1:
        raise ConfigError(
            f"{config.name}: a calibration takes one process model (model.phy_model) and no networks "
            "(model.nn: {}, training.ensemble: 1); dmg-bmi train takes the others"
        )
    process_model = build_process_model(next(iter(described.values())))
    if len(config.model.fixed) == len(process_model.declaration.parameters):
        raise ConfigError(f"{config.name}: model.fixed holds every parameter; nothing is left to calibrate")
    return process_model


def _prepare(config: TrainingConfig, process_model: ProcessModel) -> tuple[Experiment, DeltaModel]:
    """Read the data, and check that they have all that the model needs."""
    experiment = Experiment.load(config)
    experiment.require_periods()
    model = free_model(process_model, config.model.fixed, experiment.dataset.step)
    middle = {
        name: np.full(len(experiment.dataset.ids), (p.lower + p.upper) / 2)
        for p in free_parameters(model)
        for name in columns(p)
    }
    Experiment.load(config, _with(experiment.dataset, middle)).require_inputs(model)
    basins, starts = len(experiment.splits["train"].columns), config.training.starts
    log.info("%s: %d basins, %d starts of each", config.name, basins, starts)
    return experiment, model


def free_parameters(model: DeltaModel) -> list[Parameter]:
    """List the parameters of a model of :func:`free_model` that are attributes of a row."""
    (process_model,) = model.process_models.values()
    declared = process_model.declaration.parameters
    return [p for p in declared if not isinstance(model.fixed[p.name], float | int)]


def _with(dataset: BasinDataset, values: dict[str, FloatArray]) -> BasinDataset:
    return replace(dataset, attributes={**dataset.attributes, **values})


def _groups(experiment: Experiment, model: DeltaModel, files: RunFolder) -> list[_Group]:
    basins, size = experiment.splits["train"].columns, experiment.config.training.batch_size
    return [
        _Group(experiment, model, basins[first : first + size], files / run_folder.GROUPS.format(first))
        for first in range(0, len(basins), size)
    ]


def _joined_history(results: Sequence[_Result], seconds: float) -> History:
    """Return the loss of each step over all basins."""
    weights = [result.losses.shape[1] for result in results]
    losses = np.average([result.history.loss for result in results], axis=0, weights=weights)
    return History(losses.tolist(), seconds=seconds)


def _write_starts(path: Path, experiment: Experiment, model: DeltaModel, results: Sequence[_Result]) -> None:
    """Write what every start of every basin found: its loss, whether it is kept, and its parameters."""
    names = [name for p in free_parameters(model) for name in columns(p)]
    losses = np.concatenate([result.losses for result in results], axis=1)
    values = np.concatenate([result.values for result in results], axis=1)
    kept = np.concatenate([result.kept for result in results])
    rows = (
        [experiment.dataset.ids[column], start, f"{losses[start, k]:.6g}", int(start == kept[k])]
        + [f"{value:.6g}" for value in values[start, k]]
        for k, column in enumerate(experiment.splits["train"].columns)
        for start in range(len(losses))
    )
    with checkpoint.writing(path):
        write_csv(path, ["basin", "start", "loss", "kept", *names], rows)


def _conclude(
    experiment: Experiment, model: DeltaModel, files: RunFolder, values: FloatArray, history: History
) -> Run:
    """Score the calibrated basins, and write everything."""
    free, basins = free_parameters(model), experiment.splits["train"].columns
    names = [name for p in free for name in columns(p)]
    table = files / run_folder.PARAMETERS
    ids = [experiment.dataset.ids[k] for k in basins]
    with checkpoint.writing(table):
        write_csv(table, ["basin", *names], ([i, *map(float, v)] for i, v in zip(ids, values, strict=True)))
    data = replace(experiment.config.data, parameters=table)
    config = replace(experiment.config, data=data, basins=Basins())
    dataset = with_table(experiment.dataset.columns(basins), table)
    model.compiled = config.training.compiles(experiment.window)
    run = conclude(Experiment.load(config, dataset), files, model, history)
    files.write_config(config)  # until then the run resumes by the configuration that was given
    return run


# -- rows that are calibrated together ---------------------------------------------------------------


class ParameterTable(Network):
    """A network that knows nothing but the row: its outputs are weights of that row.

    The gradient of a row's own loss has at most norm 1, so that one row does not slow the others.

    Parameters
    ----------
    n_inputs, n_outputs : int
    rows : int
    """

    name = "parameter_table"

    def __init__(self, n_inputs: int, n_outputs: int, rows: int) -> None:
        super().__init__(n_inputs, n_outputs)
        self.rows = rows
        share = FIRST + (LAST - FIRST) * torch.rand(rows, n_outputs)
        self.weight = nn.Parameter(torch.logit(share))
        self.weight.register_hook(self._clip)

    def _clip(self, gradient: Tensor) -> Tensor:
        norm = self.rows * gradient.norm(dim=1, keepdim=True)
        return gradient / norm.clamp(min=1.0)

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weights of the rows that `x` ``[..., 1]`` numbers; the state is empty."""
        return self.weight[x[..., 0].long()], {}


@dataclass(frozen=True)
class _Result:
    """What the starts of some basins found.

    Parameters
    ----------
    losses : ndarray ``[starts, basins]``
    values : ndarray ``[starts, basins, values]``
        Physical values, those of a parameter's components side by side.
    history : History
    """

    losses: FloatArray
    values: FloatArray
    history: History

    @property
    def kept(self) -> FloatArray:
        """Return the best start of each basin."""
        return np.where(np.isnan(self.losses), np.inf, self.losses).argmin(0)

    @property
    def best(self) -> FloatArray:
        """Return the values of the best start, ``[basins, values]``."""
        return self.values[self.kept, np.arange(self.losses.shape[1])]


class _Group:
    """Basins whose starts are rows of one batch: start by start, and of each all basins.

    Parameters
    ----------
    experiment : Experiment
    model : DeltaModel
        Of :func:`free_model`.
    basins : list of int
        Columns of the dataset.
    saved : Path
        File of the result.
    """

    def __init__(self, experiment: Experiment, model: DeltaModel, basins: list[int], saved: Path) -> None:
        self.experiment, self.basins, self.saved = experiment, basins, saved
        self.ids = [experiment.dataset.ids[k] for k in basins]
        (self.process_model,) = model.process_models.values()
        self.fixed = {name: v for name, v in model.fixed.items() if isinstance(v, float | int)}
        self.free = free_parameters(model)
        self.rows = experiment.config.training.starts * len(basins)
        self.options = replace(experiment.config.training, batch_size=self.rows)

    def result(self, device: torch.device) -> _Result:
        """Find the parameters of all rows, or read them back."""
        if not self.saved.exists():
            self._fit(device)
        stored, facts = checkpoint.load(self.saved)
        if facts.get("basins") != self.ids or not {"losses", "values"} <= stored.keys():
            raise TrainingError(f"{self.saved}: is not of these basins; remove it to calibrate them anew")
        return _Result(
            stored["losses"].double().numpy(), stored["values"].double().numpy(), History(facts["history"])
        )

    def seconds_per_step(self) -> float:
        """Measure the CPU seconds of a step of a basin."""
        model, device = self._build(), torch.device(self.options.device)
        data = self._tensors(model, self.experiment.training_period, device)
        return measured_step(model.to(device), data, self.experiment, self.options) / len(self.basins)

    def _build(self) -> DeltaModel:
        torch.manual_seed(self.options.seed)
        values = sum(p.size for p in self.free)
        role = ParameterRole(attributes=(ROW,), static=tuple(p.name for p in self.free))
        table = ParameterTable(1, values, self.rows)
        step = self.experiment.dataset.step
        model = DeltaModel(table, self.process_model, role, self.fixed, step=step)
        model.compiled = self.options.compiles(self.experiment.window)
        return model

    def _fit(self, device: torch.device) -> None:
        dataset = self.experiment.dataset
        model = self._build().to(device)
        kept = [model]
        history = fit(
            model,
            self._tensors(model, self.experiment.training_period, device),
            self.options,
            window=self.experiment.window,
            spin_up=self.experiment.spin_up,
            label=lambda row, step: f"basin {dataset.ids[self.basins[row % len(self.basins)]]}, step {step}",
            on_best=lambda candidate: kept.__setitem__(0, candidate),
        )
        found = kept[0].eval()
        losses = self._losses(found, device)
        with torch.no_grad():
            rows = self._tensors(found, self.experiment.training_period, device).attributes
            constants = found.precompute(rows, self.rows)
        physical = torch.cat([constants[f"phy.{p.name}"].reshape(self.rows, -1) for p in self.free], dim=1)
        shape = (self.options.starts, len(self.basins))
        tensors_ = {"losses": losses.reshape(shape), "values": physical.reshape(*shape, -1)}
        checkpoint.save(self.saved, tensors_, {"history": history.loss, "basins": self.ids})

    def _tensors(self, model: DeltaModel, dataset: BasinDataset, device: torch.device) -> Tensors:
        """Return the basins' series and attributes, once for each start."""
        starts = self.options.starts
        numbered = dataset.columns(self.basins)
        names = [name for name in model.attribute_names if name != ROW]
        data = tensors(numbered, model.forcing_names, names, self.options.targets, device=device)
        attributes = {name: values.repeat(starts) for name, values in data.attributes.items()}
        return Tensors(
            {name: values.repeat(1, starts) for name, values in data.forcing.items()},
            {**attributes, ROW: torch.arange(self.rows, dtype=torch.float32, device=device)},
            {name: values.repeat(1, starts) for name, values in data.target.items()},
            device=device,
        )

    def _losses(self, model: DeltaModel, device: torch.device) -> Tensor:
        """Return each row's loss over the period that chooses, in one continuous simulation."""
        experiment, spin_up = self.experiment, self.experiment.spin_up
        split = experiment.splits.get("validation", experiment.splits["train"])
        start, end = bounds(split.period)
        observed = experiment.observed
        dataset = split.seen(observed.period(observed.times[0], end))
        data = self._tensors(model, dataset, device)
        steps = slice(max(dataset.steps(start, end).start, spin_up), None)
        objective = Objective(
            self.options.loss, self._tensors(model, experiment.training_period, device).target
        )
        rows = torch.arange(self.rows)
        batch = Batch(rows, torch.zeros_like(rows), data.forcing, data.attributes, data.target)
        with torch.no_grad():
            simulated = simulate(model, batch, steps.start)
            each = [
                objective(
                    {name: values[:, [k]] for name, values in simulated.items()},
                    {name: data.target[name][steps, [k]] for name in simulated},
                    rows[[k]],
                )
                for k in range(self.rows)
            ]
        return torch.stack(each).cpu()
