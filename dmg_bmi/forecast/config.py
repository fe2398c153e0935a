"""Configuration of forecasts that are issued again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..assimilation.options import Assimilation
from ..errors import ConfigError
from ..io.files import as_path
from ..io.typed_yaml import from_mapping, read_yaml
from ..runtime.config import utc
from ..training.probabilistic import WRITTEN


@dataclass(frozen=True)
class ForecastConfig:
    """Keys of the configuration file of ``dmg-bmi forecast``.

    Parameters
    ----------
    run : Path
        Configuration of the component: bundle, catchments, the time of a cold start (`start_time`) and
        perhaps a state file for it, stored forcing, PET.
    first, last : datetime
        UTC, begins of the first steps of the first and the last forecast.
    output : Path
        Folder of the forecasts and of the state from which the next command goes on.
    forcing : Path, optional
        Measured weather, as ``dmg-bmi run`` reads it; by default the stored forcing of `run`.
    weather : Path, optional
        Forecast weather by ``reference_time``, ``lead_time``, catchment and perhaps ``realization``; by
        default the weather that came.
    observations : Path, optional
        Observed flow by time and catchment, see :mod:`dmg_bmi.runtime.forcing.observations`.
    leads : int
        Steps that a forecast looks ahead.
    every : int
        Steps from one forecast to the next.
    lags : int
        Members of a lagged ensemble: beside the newest forecast those of the analyses before it, each with
        the weather of its time.
    loop : {"closed", "open"}
        With analyses of the observations, or without.
    assimilation : Assimilation, optional
        By default with the options of which the bundle's error was learned, or the usual ones.
    learned_error : bool
        Correct forecasts by the bundle's learned error, where it has one, and tell their quantiles.
    quantiles : tuple of float
        Levels of those.
    mean_flow : number or list, optional
        Typical flow of each catchment, mm per step, the scale of errors; by default that of which the
        error was learned, or the mean of the observations before `first`.
    start : Path, optional
        State file of another folder of forecasts to go on from, where `output` has none: a warm start.
    per_file : int
        Forecasts of one file; after each the state is saved.
    """

    run: Path
    first: datetime
    last: datetime
    output: Path
    forcing: Path | None = None
    weather: Path | None = None
    observations: Path | None = None
    leads: int = 7
    every: int = 1
    lags: int = 1
    loop: Literal["closed", "open"] = "closed"
    assimilation: Assimilation | None = None
    learned_error: bool = True
    quantiles: tuple[float, ...] = WRITTEN
    mean_flow: float | list[float] | None = None
    start: Path | None = None
    per_file: int = 100

    def __post_init__(self) -> None:
        wrong = [name for name in ("leads", "every", "lags", "per_file") if getattr(self, name) < 1]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: must be at least 1")
        if utc(self.last) < utc(self.first):
            raise ConfigError(f"last {self.last} lies before first {self.first}")
        if self.loop == "closed" and self.observations is None:
            raise ConfigError("observations: name their file, or write loop: open")
        flows = self.mean_flow if isinstance(self.mean_flow, list) else [self.mean_flow]
        if not all(flow is None or flow > 0 for flow in flows):
            raise ConfigError("mean_flow: must be above zero")

    @property
    def ahead(self) -> int:
        """Steps that each analysis looks ahead, so that it is also a member of later forecasts."""
        return self.leads + (self.lags - 1) * self.every

    @classmethod
    def read(cls, path: str | Path) -> ForecastConfig:
        """Read a configuration file; relative paths in it are relative to its folder.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        path = as_path(path, ConfigError)
        config = from_mapping(cls, read_yaml(path), str(path))
        names = ("run", "output", "forcing", "weather", "observations", "start")
        located = {name: path.parent / p for name in names if (p := getattr(config, name)) is not None}
        return replace(config, **located)
