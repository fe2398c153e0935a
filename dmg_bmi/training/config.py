"""The configuration of a training: what a YAML file may say."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError
from ..io.files import parse_yaml
from ..io.typed_yaml import from_mapping, read_yaml
from .losses import by_target
from .readers import caravan
from .readers.camels import ATTRIBUTES, Area, Pet
from .readers.loading import Missing


@dataclass(frozen=True)
class CamelsData:
    """Basins of CAMELS-US; see :func:`~dmg_bmi.training.readers.camels.camels`.

    `basins` is a list of ids, or a text file of one a line. For `missing_forcing` and `cache` see
    :func:`~dmg_bmi.training.readers.loading.gather`.
    """

    reader: Literal["camels"]
    path: Path
    basins: tuple[str, ...] | Path | None = None
    attributes: tuple[str, ...] | dict[str, str] = tuple(ATTRIBUTES)
    forcing: str = "nldas"
    pet: Pet = "priestley_taylor"
    area: Area = "area_gages2"
    missing_forcing: Missing = "error"
    cache: Path | None = None


@dataclass(frozen=True)
class CaravanData:
    """Basins of Caravan; see :func:`~dmg_bmi.training.readers.caravan.caravan`, and :class:`CamelsData`."""

    reader: Literal["caravan"]
    path: Path
    basins: tuple[str, ...] | Path | None = None
    attributes: tuple[str, ...] | dict[str, str] = tuple(caravan.ATTRIBUTES)
    pet: caravan.Pet = "fao_penman_monteith"
    inputs: tuple[str, ...] = ()
    targets: dict[str, str] = field(default_factory=dict)
    missing_forcing: Missing = "error"
    cache: Path | None = None


@dataclass(frozen=True)
class NetcdfData:
    """Basins of one NetCDF file; see :func:`~dmg_bmi.training.readers.cf.cf`, and :class:`CamelsData`."""

    reader: Literal["netcdf"]
    path: Path
    basins: tuple[str, ...] | Path | None = None
    attributes: tuple[str, ...] | dict[str, str] | None = None
    table: Path | None = None
    missing_forcing: Missing = "error"
    cache: Path | None = None


@dataclass(frozen=True)
class SyntheticData:
    """Synthetic basins; see :func:`dmg_bmi.synthetic.basins.generate`."""

    reader: Literal["synthetic"]
    basins: int = 12
    years: int = 8
    step: float = 86400.0
    start: datetime = datetime(2000, 10, 1)
    attributes: tuple[str, ...] = ("elev_mean", "area", "aridity", "frac_snow", "frac_forest", "clay_frac")
    noise: float = 0.05
    seed: int = 0


Period = tuple[datetime, datetime]


@dataclass(frozen=True)
class Periods:
    """First and last day of each split.

    Parameters
    ----------
    train : two dates
        Statistics come from here alone.
    validation : two dates, optional
        What chooses the weights that are kept; without it those of the last step are.
    test : two dates, optional
        Only ever reported.
    spin_up : int
        Days that a simulation runs before it is compared with observations. In evaluation
        they lie before the period as far as there is data, and otherwise in it.
    """

    train: Period
    validation: Period | None = None
    test: Period | None = None
    spin_up: int = 365

    def __post_init__(self) -> None:
        for name, (start, end) in self.named().items():
            if end <= start:
                raise ConfigError(f"{name} ends on {end:%Y-%m-%d}, before it starts on {start:%Y-%m-%d}")
        if self.spin_up < 0:
            raise ConfigError(f"spin_up must not be negative, it is {self.spin_up}")

    def named(self) -> dict[str, Period]:
        """The splits that there are."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: period for name, period in splits.items() if period is not None}


@dataclass(frozen=True)
class Basins:
    """Basins that the model never sees; without any key it is trained on all.

    Parameters
    ----------
    train, validation, test : list of ids, or a text file of one id a line
        Those of the validation choose the weights that are kept; those of the test are scored as
        ``ungauged``. Without `train` all others are trained on.
    folds : int
        Instead: hold out one of so many parts, drawn at random.
    fold : int
        Which, from 0.
    seed : int
        Of the draw.
    """

    train: tuple[str, ...] | Path | None = None
    validation: tuple[str, ...] | Path | None = None
    test: tuple[str, ...] | Path | None = None
    folds: int = 0
    fold: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.folds and (self.train or self.validation or self.test):
            raise ConfigError("give either folds or lists of basins, not both")
        if not 0 <= self.fold < max(self.folds, 1):
            raise ConfigError(
                f"fold is {self.fold}; with folds: {self.folds} it goes from 0 to {self.folds - 1}"
            )


def bounds(period: Period) -> tuple[np.datetime64, np.datetime64]:
    """Start, and end of the last day, of a period."""
    start, end = (np.datetime64(date, "D") for date in period)
    return start.astype("datetime64[s]"), (end + 1).astype("datetime64[s]")


@dataclass(frozen=True)
class Model:
    """What :meth:`dmg_bmi.DeltaModel.build` takes.

    A role without the key ``attributes`` sees all attributes of the data; steps come from the data.
    """

    nn: dict[str, Any]
    phy_model: dict[str, Any] = field(default_factory=dict)
    roles: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    fixed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How the weights are found.

    Parameters
    ----------
    steps : int
        Updates of the weights.
    batch : int
        Windows per update, each of one basin, all basins equally often.
    window : int
        Days of a window, spin-up included.
    loss : mapping
        Names of :data:`~dmg_bmi.training.losses.LOSSES` and their weights. With further targets
        than the flow a mapping of each target's: ``{Q: {nse: 1.0}, SWE: {rmse: 0.01}}``.
    range_penalty : float
        Weight of :func:`~dmg_bmi.training.losses.range_penalty`.
    learning_rate : float or mapping of int to float
        At its highest; or from which step on it is what, ``{0: 0.01, 200: 0.001}``, and then no
        schedule applies.
    schedule : {"one_cycle", "constant"}
        A rise over the first fifth of the steps, then a fall to zero along a cosine; or none.
    weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of the gradient.
    spin_up_gradient : bool
        Let the gradient see the spin-up too: twice the time.
    truncate : int
        Days over which the gradient goes back through the states (truncated backpropagation);
        0 lets it go all the way.
    recompute : int
        Days of a block whose intermediate values are computed a second time for the gradient
        instead of kept (activation checkpointing): less memory, more time; 0 keeps them all.
    precision : {"float32", "bfloat16"}
        Of the networks' matrix products; the equations are always computed in float32.
    engine : {"eager", "compiled"}
        Whether the equations are compiled on first use: minutes once, then several times as fast.
    average : float
        Share of the running average of the weights, which is what is kept, in each update of
        it; 0 keeps the weights themselves.
    members : int
        Train so many copies of each process model side by side, each with networks of its own and by
        its own loss on the same windows; the bundle is the mean of all. So many times the time, here
        and in a run.
    check_every : int
        Steps between validations and saved bundles.
    patience : int
        Stop after so many validations without a better one; 0 never does.
    save_every : int
        Steps between checkpoints, from which a training that was killed goes on.
    tensorboard : bool
        Also write what TensorBoard shows into the run folder.
    seed : int
    device : str
    """

    steps: int = 300
    batch: int = 100
    window: int = 730
    loss: dict[str, float | dict[str, float]] = field(default_factory=lambda: {"nse": 1.0})
    range_penalty: float = 0.0
    learning_rate: float | dict[int, float] = 0.01
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    weight_decay: float = 0.0
    clip: float = 1.0
    spin_up_gradient: bool = False
    truncate: int = 0
    recompute: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    engine: Literal["eager", "compiled"] = "eager"
    average: float = 0.0
    members: int = 1
    check_every: int = 50
    patience: int = 0
    save_every: int = 10
    tensorboard: bool = False
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "window", "clip", "members", "check_every", "save_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above zero, it is {getattr(self, name)}")
        for name in ("truncate", "recompute", "patience", "weight_decay", "range_penalty"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, it is {getattr(self, name)}")
        if self.engine == "compiled" and self.recompute:
            raise ConfigError("engine: compiled and recompute exclude each other; choose one")
        rates = self.learning_rate if isinstance(self.learning_rate, dict) else {0: self.learning_rate}
        if 0 not in rates or not all(isinstance(step, int) and step >= 0 for step in rates):
            raise ConfigError(f"learning_rate must map steps, of which 0 is one, to rates; it is {rates}")
        if not all(rate > 0 for rate in rates.values()):
            raise ConfigError(f"learning_rate must be above zero, it is {self.learning_rate}")
        if not 0.0 <= self.average < 1.0:
            raise ConfigError(f"average must be at least 0 and below 1, it is {self.average}")
        by_target(self.loss)

    @property
    def targets(self) -> tuple[str, ...]:
        """What the loss compares: fluxes of the model, and observations of the data."""
        return tuple(by_target(self.loss))


@dataclass(frozen=True)
class TrainingConfig:
    """Keys of a training's configuration file.

    Parameters
    ----------
    name, summary : str
        Of the bundle.
    data, periods, basins, model, training
        See the classes of these names.
    """

    name: str
    data: CamelsData | CaravanData | NetcdfData | SyntheticData
    periods: Periods
    model: Model
    basins: Basins = field(default_factory=Basins)
    training: Training = field(default_factory=Training)
    summary: str = ""

    def __post_init__(self) -> None:
        if self.basins.validation is not None and self.periods.validation is None:
            raise ConfigError("basins.validation needs periods.validation, the years in which they choose")
        if self.training.patience and self.periods.validation is None:
            raise ConfigError("training.patience needs periods.validation, whose score it waits for")
        if self.training.window <= self.periods.spin_up:
            raise ConfigError(
                f"training.window ({self.training.window} days) must be longer than "
                f"periods.spin_up ({self.periods.spin_up} days), which it includes"
            )

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
        """Read a YAML file, or one shipped with the package by its name.

        Parameters
        ----------
        path : path
        overrides : sequence of str
            ``section.key=value`` that take the place of what the file says.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        file = find(path)
        return cls.from_plain(read_yaml(file), str(file), overrides)

    @classmethod
    def from_plain(
        cls, content: dict[str, Any], source: str, overrides: Sequence[str] = ()
    ) -> TrainingConfig:
        """As :meth:`read`, from what the file `source` holds."""
        for override in overrides:
            _override(content, override)
        return from_mapping(cls, content, source)


SHIPPED = Path(__file__).parent / "configs"
log = logging.getLogger("dmg_bmi")


def find(path: str | Path) -> Path:
    """A file, or the shipped configuration of that name."""
    shipped = SHIPPED / f"{path}.yaml"
    if not os.path.isfile(path):
        if shipped.is_file():
            if os.path.exists(path):
                log.warning("%s: is no file here; the shipped configuration of that name is taken", path)
            return shipped
        names = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
        raise ConfigError(f"{path}: there is no such file; shipped are {names}")
    return Path(path)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: write section.key=value")
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{override!r}: {section} holds a value, not keys")
    content[last] = parse_yaml(text, f"--set {key}", ConfigError)
