"""The configuration of a training, as a YAML file states it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError
from ..io.files import parse_yaml
from ..io.typed_yaml import from_mapping, read_yaml
from .losses import by_target
from .readers.base import DataConfig
from .renamed_keys import refuse, translate

Period = tuple[datetime, datetime]
#: ``section.key=value`` in place of a file's, or ``section.key`` to value.
Overrides = Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Periods:
    """First and last day of each split.

    Parameters
    ----------
    train : two dates
        Statistics come from here alone.
    withheld : two dates, optional
        Part of it whose observations are not learned from, but scored apart.
    validation : two dates, optional
        Chooses the weights that are kept; without it they are those of the last step.
    test : two dates, optional
        Only reported.
    spin_up : int
        Days that a simulation runs before it is compared with observations. In evaluation
        they lie before the period as far as there is data, and otherwise in it.
    """

    train: Period
    withheld: Period | None = None
    validation: Period | None = None
    test: Period | None = None
    spin_up: int = 365

    def __post_init__(self) -> None:
        for name, (start, end) in self.named().items():
            if end <= start:
                raise ConfigError(f"{name} ends on {end:%Y-%m-%d}, before it starts on {start:%Y-%m-%d}")
        if self.withheld is not None:
            first, last = (f"{date:%Y-%m-%d}" for date in self.train)
            if (
                self.withheld == self.train
                or not self.train[0] <= self.withheld[0] < self.withheld[1] <= self.train[1]
            ):
                raise ConfigError(f"withheld must be a part of train, which is from {first} to {last}")
        if self.spin_up < 0:
            raise ConfigError(f"spin_up must not be negative, it is {self.spin_up}")

    def named(self) -> dict[str, Period]:
        """Return the periods that are set, by the name of their split."""
        splits = {
            "train": self.train,
            "withheld": self.withheld,
            "validation": self.validation,
            "test": self.test,
        }
        return {name: period for name, period in splits.items() if period is not None}


@dataclass(frozen=True)
class Basins:
    """Basins that the model never sees; by default it is trained on all.

    Parameters
    ----------
    train, validation, test : list of ids, or a text file of one id a line
        Validation basins choose the weights that are kept; test basins are scored as ``ungauged``.
        Without `train` the model is trained on all others.
    folds : int
        Instead of lists: the number of parts, drawn at random, of which one is held out.
    fold : int
        The part to hold out, from 0.
    seed : int
        Seed of the draw.
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
    """Return the start of a period, and the end of its last day."""
    start, end = (np.datetime64(date, "D") for date in period)
    return start.astype("datetime64[s]"), (end + 1).astype("datetime64[s]")


@dataclass(frozen=True)
class Model:
    """Arguments of :meth:`dmg_bmi.DeltaModel.build`.

    A role without the key ``attributes`` sees all attributes of the data, one with ``inputs: all``, or
    that is the output without ``inputs``, all forcings; steps come from the data.
    Several process models that no role combines are the members of an ensemble, see
    :mod:`~dmg_bmi.training.ensemble`.
    Without networks it is a model to calibrate (see :mod:`~dmg_bmi.training.calibration`).

    Parameters
    ----------
    nn : mapping
        One network, ``{name: lstm, hidden_size: 64}``, or several by keys of their own.
    phy_model : mapping
        One process model, ``{name: hbv, nmul: 4, routing: 15}``, or several by keys of their own.
    roles : list of mappings
        What each network does for a process model, see ``docs/roles.md``.
    fixed : mapping of str to float
        Parameters that are held at a value, or that an attribute of that name gives.
    bundle : path, optional
        A trained model to go on from, instead of all of the above: a bundle, the folder of a training, or a
        shipped name (see :mod:`~dmg_bmi.training.fine_tuning`).
    learns : sequence of str
        Its networks whose weights change, by name or pattern; all by default.
    """

    nn: dict[str, Any] = field(default_factory=dict)
    phy_model: dict[str, Any] = field(default_factory=dict)
    roles: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    fixed: dict[str, float] = field(default_factory=dict)
    bundle: Path | None = None
    learns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        described = [key for key in ("nn", "phy_model", "fixed") if getattr(self, key)]
        if self.bundle is not None and described:
            raise ConfigError(f"bundle is a whole model, beside {described[0]}; keep one of them")
        if self.learns and self.bundle is None:
            raise ConfigError("learns names networks of a bundle, and there is no bundle; name it")


#: Steps of the equations, over all windows of a training. One takes plain code 1 to 2 ms for up to some
#: hundred rows, its gradient included; the compiler takes about a minute.
WORTH_COMPILING = 100_000


@dataclass(frozen=True)
class Training:
    """Options of the optimisation.

    Parameters
    ----------
    max_steps : int
        Updates of the weights.
    batch_size : int
        Windows per update, each of one basin, all basins equally often. In a calibration the number of
        basins at a time, each with one window for each of its starts.
    seq_length : int
        Days of a window, spin-up included.
    loss : mapping
        Registered losses (see :func:`~dmg_bmi.training.losses.find_loss`) and their weights. With further
        targets than the flow a mapping of each target's: ``{Q: {nse: 1.0}, SWE: {rmse: 0.01}}``.
    range_penalty : float
        Weight of :func:`~dmg_bmi.training.losses.range_penalty`.
    learning_rate : float or mapping of int to float
        Its maximum; or the rate from each of some steps on, ``{0: 0.01, 200: 0.001}``, without a
        schedule.
    schedule : {"one_cycle", "constant"}
        A rise over the first fifth of the steps, then a fall to zero along a cosine; or none.
    weight_decay : float
        Weight decay of AdamW.
    clip_gradient_norm : float
        Largest norm of the gradient.
    spin_up_gradient : bool
        Let the gradient see the spin-up too: twice the time.
    tbptt : int
        Days over which the gradient goes back through the states (truncated backpropagation through
        time); 0 lets it go all the way.
    activation_checkpointing : int
        Days of a block whose intermediate values are computed a second time for the gradient
        instead of kept: less memory, more time; 0 keeps them all.
    precision : {"float32", "bfloat16"}
        Precision of the networks' matrix products; the equations are always computed in float32.
    engine : {"auto", "eager", "compiled"}
        Whether the equations are compiled on first use: a minute once, then several times as fast. ``auto``
        compiles where that pays, see :meth:`compiles`.
    ema : float
        Share of the latest weights in each update of an exponential moving average, which is then
        validated and kept; 0 keeps the weights themselves.
    ensemble : int
        Number of copies of each process model to train side by side, each with networks of its own and
        by its own loss on the same windows; the bundle is the mean of all. Time grows in proportion, here
        and in a run.
    starts : int
        Random starts of each basin in a calibration, of which the best is kept.
    validate_every : int
        Steps between validations and saved bundles.
    patience : int
        Stop after this many validations without a better one; 0 never does.
    checkpoint_every : int
        Steps between checkpoints, from which an interrupted training resumes.
    tensorboard : bool
        Also write TensorBoard events into the run folder.
    seed : int
        Of first weights, windows and dropout.
    device : str
        ``cpu`` or ``cuda``.
    """

    max_steps: int = 300
    batch_size: int = 100
    seq_length: int = 730
    loss: dict[str, float | dict[str, float]] = field(default_factory=lambda: {"nse": 1.0})
    range_penalty: float = 0.0
    learning_rate: float | dict[int, float] = 0.01
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    weight_decay: float = 0.0
    clip_gradient_norm: float = 1.0
    spin_up_gradient: bool = False
    tbptt: int = 0
    activation_checkpointing: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    engine: Literal["auto", "eager", "compiled"] = "auto"
    ema: float = 0.0
    ensemble: int = 1
    starts: int = 8
    validate_every: int = 50
    patience: int = 0
    checkpoint_every: int = 10
    tensorboard: bool = False
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in (
            "max_steps",
            "batch_size",
            "seq_length",
            "clip_gradient_norm",
            "ensemble",
            "starts",
            "validate_every",
            "checkpoint_every",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above zero, it is {getattr(self, name)}")
        for name in ("tbptt", "activation_checkpointing", "patience", "weight_decay", "range_penalty"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be negative, it is {getattr(self, name)}")
        if self.engine == "compiled" and self.activation_checkpointing:
            raise ConfigError("engine: compiled and activation_checkpointing exclude each other; choose one")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"ema must be at least 0 and below 1, it is {self.ema}")
        self._check_learning_rate()
        by_target(self.loss)

    def _check_learning_rate(self) -> None:
        rates = self.learning_rate if isinstance(self.learning_rate, dict) else {0: self.learning_rate}
        if 0 not in rates or not all(isinstance(step, int) and step >= 0 for step in rates):
            raise ConfigError(f"learning_rate must map steps, of which 0 is one, to rates; it is {rates}")
        if not all(rate > 0 for rate in rates.values()):
            raise ConfigError(f"learning_rate must be above zero, it is {self.learning_rate}")

    def compiles(self, window: int) -> bool:
        """Return whether equations are compiled, for windows of so many steps.

        ``engine: auto`` compiles where plain code would take several times as long as the compiler. What
        that is, is told by the configuration alone: a training that was interrupted goes on as it began.
        """
        if self.engine != "auto":
            return self.engine == "compiled"
        return self.max_steps * window > WORTH_COMPILING and not self.activation_checkpointing

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets of the loss: names of fluxes of the model and of observations of the data."""
        return tuple(by_target(self.loss))


@dataclass(frozen=True)
class TrainingConfig:
    """Keys of a training's configuration file.

    Parameters
    ----------
    name, summary : str
        Name and summary of the bundle.
    data, periods, basins, model, training
        See the classes of these names.
    """

    name: str
    data: DataConfig
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
        if self.training.seq_length <= self.periods.spin_up:
            raise ConfigError(
                f"training.seq_length ({self.training.seq_length} days) must be longer than "
                f"periods.spin_up ({self.periods.spin_up} days), which it includes"
            )

    @classmethod
    def read(cls, path: str | Path, overrides: Overrides = ()) -> TrainingConfig:
        """Read a YAML file, or one shipped with the package by its name.

        Parameters
        ----------
        path : path
        overrides : sequence of str, or mapping
            ``section.key=value``, or ``section.key`` to value, in place of the file's.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        file = find(path)
        return cls.from_plain(read_yaml(file), str(file), overrides)

    @classmethod
    def from_plain(cls, content: dict[str, Any], source: str, overrides: Overrides = ()) -> TrainingConfig:
        """Convert the content of the file `source`; see :meth:`read`."""
        content = deepcopy(content)
        for key, value in deepcopy(settings(overrides)).items():
            assign(content, key, value, key)
        refuse(content, source)
        return from_mapping(cls, content, source)

    @classmethod
    def from_stored(cls, content: dict[str, Any], source: str, overrides: Overrides = ()) -> TrainingConfig:
        """Convert what a training has stored in `source`, which may have keys that were renamed since."""
        return cls.from_plain(translate(content), source, overrides)

    def plain(self) -> dict[str, Any]:
        """Return the configuration as YAML writes it."""
        result: dict[str, Any] = plain(asdict(self))
        return result

    def portable(self) -> dict[str, Any]:
        """Return the configuration as YAML writes it, without the folders of paths: a bundle travels."""
        content = self.plain()
        for section in ("data", "basins", "model"):
            content[section] = plain(_without_folders(asdict(getattr(self, section))))
        return content


SHIPPED = Path(__file__).parent / "configs"
log = logging.getLogger("dmg_bmi")


def find(path: str | Path) -> Path:
    """Find a file, or the shipped configuration of that name."""
    return find_shipped(path, SHIPPED, "configuration")


def is_shipped(name: str) -> bool:
    """Tell whether the package ships a configuration of that name."""
    return (SHIPPED / f"{name}.yaml").is_file()


def find_shipped(path: str | Path, folder: Path, kind: str, hidden: str = " ") -> Path:
    """Find a YAML file, or that of this name in a folder of the package.

    Parameters
    ----------
    path : path
    folder : Path
    kind : str
        What a file is, for messages.
    hidden : str
        How the names of files begin that are something else.
    """
    shipped = folder / f"{path}.yaml"
    if not os.path.isfile(path):
        if shipped.is_file():
            if os.path.exists(path):
                log.warning("%s: is not a file; the shipped %s of that name is taken", path, kind)
            return shipped
        names = ", ".join(sorted(p.stem for p in folder.glob("*.yaml") if not p.name.startswith(hidden)))
        raise ConfigError(f"{path}: no such file; shipped {kind}s: {names}")
    return Path(path)


def settings(overrides: Overrides) -> dict[str, Any]:
    """Return ``section.key`` to value, of whatever form.

    Raises
    ------
    ConfigError
        Naming a text that is not ``section.key=value``.
    """
    if isinstance(overrides, Mapping):
        return {**overrides}
    result: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"{override!r}: write section.key=value")
        result.pop(key, None)  # in the order of the last
        result[key] = parse_yaml(text, f"--set {key}", ConfigError)
    return result


def assign(content: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Set ``section.key`` in plain data; `source` is for messages."""
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"{source!r}: {section} holds a value, not keys")
    content[last] = value


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    return value.name if isinstance(value, Path) else value


def plain(value: Any) -> Any:
    """Return paths, dates and tuples as YAML writes them."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else value
