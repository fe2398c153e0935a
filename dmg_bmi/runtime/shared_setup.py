"""Setup that all catchments of one configuration share: model, table, forcing, engine and clock."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import FloatArray
from ..errors import ConfigError
from ..io.timeseries import day_of_year
from ..model.bundle import BundleInfo
from ..model.training_range import check_trained
from ..physics import State
from .catchments import CatchmentTable
from .clock import FAR_FUTURE, Clock
from .config import RunConfig, utc
from .engines.choose import make_engine
from .engines.eager import Eager
from .forcing.aggregation import Place
from .forcing.pet_from_weather import METHODS, make_forcing_inputs
from .forcing.stored import StoredForcing
from .perturbation import Perturbation

log = logging.getLogger("dmg_bmi")


_forked = False


def set_threads(count: int) -> None:
    """Set the threads of matrix products; one in a forked process, whose pool of threads is gone."""
    if _forked and count > 1:
        log.warning(
            "threads: %d: a forked process can have one only, since its threads stayed behind; "
            "start processes by `spawn` to have more",
            count,
        )
        count = 1
    torch.set_num_threads(count)


def _after_fork() -> None:
    global _forked
    _forked = True
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class SharedSetup:
    """A model made ready under one configuration; nothing here changes from step to step.

    Parameters
    ----------
    info : BundleInfo
    config : RunConfig

    Attributes
    ----------
    graph : dict of name to Tensor
        Which rows act on which, of a river network; else empty.
    catchments : tuple of str
        Those that have rows, one each or, in an ensemble, one of each member.
    outputs : tuple of Variable
        Those that the model gives; flows are made of them.
    balance : Balance or None
        Of water.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        set_threads(config.threads)
        info, self.model = replace(info, network_precision=config.network_precision).load()
        self.info, self.config = info, config
        table = info.variables
        self.device = _device(config.device)
        self.model.to(self.device)
        if self.device.type == "cuda":
            # PyTorch lets an LSTM there round to ten bits by default; here networks run in float32.
            torch.backends.cudnn.allow_tf32 = False
        clock = self.new_clock()
        forcings = [v for v in table if v.kind == "input"]
        needed = [v.name for v in table if v.kind == "attribute"]
        if config.pet is not None:
            needed += [n for n in METHODS[config.pet.method].attributes if n not in needed]
        if config.catchments.hydrofabric is not None and not self.model.declaration.graph:
            raise ConfigError(f"catchments.hydrofabric: {info.name} is not a model of a river network")
        self.table = CatchmentTable.load(config.catchments, needed)
        self._warned: set[str] = set()
        self.check_trained(self.table.attributes, self.table.ids)
        self.graph: State = self._graph()
        self.catchments, members = self.table.ids, 1
        if config.ensemble is not None:
            if self.graph or self.model.declaration.graph:
                raise ConfigError("ensemble: catchments that act on each other cannot have members yet")
            members = config.ensemble.members
            self.table = self.table.repeated(members)
        self.engine = make_engine(config.engine, self.model, info, config.device, self.graph)
        self.store: StoredForcing | None = None
        if config.forcing is not None:
            self.store = StoredForcing(
                config.forcing, forcings, self.catchments, clock, config.start_time, config.pet, members
            )
            self.inputs = self.store.inputs
        else:
            self.inputs = make_forcing_inputs(forcings, clock.step, clock.model_step, config.pet)
        if self.inputs.attributes and config.start_time is None:
            raise ConfigError("pet: this method needs the day of the year, so give start_time")
        self.perturbation: Perturbation | None = None
        if config.ensemble is not None:
            start = 0.0 if config.start_time is None else utc(config.start_time).timestamp()
            self.perturbation = Perturbation(config.ensemble, self.catchments, self.inputs, start)
        self.outputs = tuple(v for v in table if v.kind == "output" and not v.of)
        self.balance = next((b for b in self.model.declaration.balances if b.quantity == "water"), None)
        self._log(clock)

    def _graph(self) -> State:
        fabric = self.table.fabric
        if fabric is None:
            if self.model.declaration.graph and len(self.table.ids) > 1:
                raise ConfigError(
                    f"catchments: {self.info.name} routes through a network: name its GeoPackage under "
                    "catchments.hydrofabric"
                )
            return {}
        if self.config.shared is not None:
            raise ConfigError(
                "shared: the reaches of a network step together, so one component has to own them all"
            )
        return {name: tensor.to(self.device) for name, tensor in fabric.network.graph().items()}

    def _log(self, clock: Clock) -> None:
        """Log, once, what a user should know."""
        if clock.ratio == 1:
            return
        log.info("%s: a model step of %g s is %d updates", self.info.name, clock.model_step, clock.ratio)
        if self.config.start_time is None:
            log.info("%s: there is no start_time, so model steps count from step 0", self.info.name)
        if self.store is None:
            log.info(
                "%s: outputs follow one model step behind their forcing; in the first nothing flows and "
                "levels are NaN, unless a restart file says otherwise",
                self.info.name,
            )

    def new_clock(self) -> Clock:
        """Return a clock at time zero."""
        config = self.config
        step = config.time_step or self.model.step
        end = FAR_FUTURE if config.end_seconds is None else config.end_seconds
        try:
            clock = Clock(step, self.model.step, end)
        except ConfigError as problem:
            raise ConfigError(f"time_step: {problem}") from problem
        if config.start_time is not None:
            start = utc(config.start_time)
            midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
            seconds = (start - midnight).total_seconds() - config.day_start_hour * 3600.0
            steps = (seconds % clock.model_step) / clock.step
            if clock.ratio > 1 and abs(steps - round(steps)) > 1e-6:
                raise ConfigError(
                    f"start_time: {config.start_time} is not a whole number of steps of {clock.step:g} s "
                    f"after day_start_hour {config.day_start_hour:g}"
                )
            clock.phase = round(steps) % clock.ratio
        return clock

    def place(self, table_rows: NDArray[np.int_], steps: NDArray[np.int_]) -> Place | None:
        """Return where rows are and on which day, if their forcing depends on it.

        Parameters
        ----------
        table_rows : array ``[rows]``
            Their rows of the table of catchments.
        steps : array ``[rows]``
            Which model step, as :meth:`dmg_bmi.runtime.model_step.ModelStep.number`.
        """
        start = self.config.start_time
        if not self.inputs.attributes or start is None:
            return None
        clock = self.new_clock()
        seconds = steps * int(clock.model_step) - int(clock.phase * clock.step)
        dates = np.datetime64(utc(start).replace(tzinfo=None), "s") + seconds.astype("timedelta64[s]")
        attributes = {name: self.table.attributes[name][table_rows] for name in self.inputs.attributes}
        return Place(attributes, day_of_year(dates))

    def precompute(self, attributes: Mapping[str, Tensor], n: int, factors: Mapping[str, Tensor]) -> State:
        """Compute the constants of `n` rows from their attributes and the factors on their parameters."""
        constants = self.model.precompute({**attributes, **self.graph}, n, torch.float64, {**factors})
        if not isinstance(self.engine, Eager) and any(".multiplier." in name for name in constants):
            log.info("%s: factors on parameters that change in time need the eager engine", self.info.name)
            self.engine = Eager(self.model)
        return constants

    def check_trained(self, attributes: Mapping[str, FloatArray], ids: Sequence[str]) -> None:
        """Refuse attributes far from those of the training; warn once of each that is a little outside."""
        check_trained(self.model.statistics, attributes, ids, self._warned)

    def initial(self, n: int) -> State:
        """Return the state of `n` rows before anything has happened."""
        return self.model.init_state(n, dtype=torch.float64, device=self.device)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise ConfigError(f"device: {name!r} cannot be used here; choose cpu or cuda: {reason}") from problem
