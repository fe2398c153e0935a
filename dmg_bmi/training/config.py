"""The configuration of a training: what a YAML file may say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from ..config import from_mapping, read_yaml
from ..errors import ConfigError
from .camels import ATTRIBUTES, Area, Pet
from .losses import weighted


@dataclass(frozen=True)
class CamelsData:
    """Basins of CAMELS-US; see :func:`~dmg_bmi.training.camels.read_camels`."""

    reader: Literal["camels"]
    path: Path
    basins: tuple[str, ...] | None = None
    attributes: tuple[str, ...] = tuple(ATTRIBUTES)
    forcing: str = "nldas"
    pet: Pet = "priestley_taylor"
    area: Area = "area_gages2"


@dataclass(frozen=True)
class SyntheticData:
    """Synthetic basins; see :func:`dmg_bmi.synthetic.synthetic`."""

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
    phy_model: dict[str, Any]
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
    loss : mapping of str to float
        Names of :data:`~dmg_bmi.training.losses.LOSSES` and their weights.
    learning_rate : float
        At its highest.
    schedule : {"one_cycle", "constant"}
        A rise over the first fifth of the steps, then a fall to zero along a cosine; or none.
    weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of the gradient.
    spin_up_gradient : bool
        Let the gradient see the spin-up too: twice the time.
    average : float
        Share of the running average of the weights, which is what is kept, in each update of
        it; 0 keeps the weights themselves.
    check_every : int
        Steps between validations and saved bundles.
    seed : int
    device : str
    """

    steps: int = 300
    batch: int = 100
    window: int = 730
    loss: dict[str, float] = field(default_factory=lambda: {"nse": 1.0})
    learning_rate: float = 0.01
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    weight_decay: float = 0.0
    clip: float = 1.0
    spin_up_gradient: bool = False
    average: float = 0.0
    check_every: int = 50
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "window", "learning_rate", "clip", "check_every"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above zero, it is {getattr(self, name)}")
        if not 0.0 <= self.average < 1.0:
            raise ConfigError(f"average must be at least 0 and below 1, it is {self.average}")
        weighted(self.loss)


@dataclass(frozen=True)
class TrainingConfig:
    """Keys of a training's configuration file.

    Parameters
    ----------
    name, summary : str
        Of the bundle.
    data, periods, model, training
        See the classes of these names.
    """

    name: str
    data: CamelsData | SyntheticData
    periods: Periods
    model: Model
    training: Training = field(default_factory=Training)
    summary: str = ""

    def __post_init__(self) -> None:
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
        content = read_yaml(file)
        for override in overrides:
            _override(content, override)
        return from_mapping(cls, content, str(file))


SHIPPED = Path(__file__).parent / "configs"


def find(path: str | Path) -> Path:
    """A file, or the shipped configuration of that name."""
    shipped = SHIPPED / f"{path}.yaml"
    if not Path(path).exists() and shipped.is_file():
        return shipped
    if not Path(path).is_file():
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
    content[last] = yaml.safe_load(text)
