"""The configuration of a neuralhydrology run, reduced to what determines the model."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ...arrays import DAY, HOUR
from ...errors import ConfigError, ImportModelError, alternatives
from ...io.files import read_yaml
from ...io.typed_yaml import from_mapping
from . import variables
from .keys import IGNORED, OF_OTHER_MODELS, REFUSED
from .two_steps import SlowBranch

log = logging.getLogger("dmg_bmi")

CONFIG = "config.yml"
#: Their models, and the network here whose equations each has.
MODELS: Mapping[str, str] = {
    "cudalstm": "cuda_lstm",
    "embcudalstm": "cuda_lstm",
    "customlstm": "cuda_lstm",
    "lstm": "cuda_lstm",
    "ealstm": "ea_lstm",
    "mtslstm": "mts_lstm",
}
HEADS = ("regression", "gmm", "cmal", "umal")
#: More units, components or steps of a window than anybody trains with.
MOST_UNITS, MOST_COMPONENTS, MOST_STEPS = 2**20, 1000, 10**6
#: neuralhydrology writes a list that is used twice as an alias.
MOST_ALIASES = 20
_FREQUENCY = re.compile(r"(\d*)(D|h|H)")

Names = str | list[str]


@dataclass(frozen=True)
class EmbeddingKeys:
    """Keys of an embedding."""

    hiddens: int | list[int]
    type: str = "fc"
    activation: str = "tanh"
    dropout: float = 0.0


@dataclass(frozen=True)
class RunFile:
    """Keys of ``config.yml`` that determine the model, named and meant as neuralhydrology does."""

    model: str
    head: str
    hidden_size: int | dict[str, int]
    seq_length: int | dict[str, int]
    dynamic_inputs: list[str] | list[list[str]] | dict[str, list[str]]
    target_variables: Names
    dataset: str = ""
    static_attributes: Names | None = None
    camels_attributes: Names | None = None
    hydroatlas_attributes: Names | None = None
    use_basin_id_encoding: bool | None = None
    number_of_basins: int | None = None
    use_frequencies: Names | None = None
    clip_targets_to_zero: Names | None = None
    output_activation: str | None = None
    n_distributions: int | None = None
    n_taus: int | None = None
    tau_down: float | None = None
    tau_up: float | None = None
    statics_embedding: bool | EmbeddingKeys | None = None
    dynamics_embedding: bool | EmbeddingKeys | None = None
    embedding_hiddens: int | list[int] | None = None
    embedding_activation: str | None = None
    embedding_dropout: float | None = None
    shared_mtslstm: bool | None = None
    transfer_mtslstm_states: dict[str, str | None] | None = None


@dataclass(frozen=True)
class NhRun:
    """A run, in the names of neuralhydrology except where stated.

    Parameters
    ----------
    path : Path
        Of the configuration.
    model, head : str
        In lower case.
    network : str
        Name of the network here.
    hidden_size, seq_length : int
    step : float
        Seconds.
    dynamic, static, targets : tuple of str
        In the order in which the network takes or gives them; of two networks the fast one.
    n_basins : int
        Inputs that tell basins apart; 0 for none.
    clipped : tuple of str
        Targets that are at least zero.
    embeddings : mapping of {"statics", "dynamics"} to mapping
        Options of :class:`dmg_bmi.nn_models.embedding.Embedding`.
    head_options : mapping
        Of the head here.
    dataset : str
    slow : SlowBranch, optional
        The slow network of a model of two time steps.
    """

    path: Path
    model: str
    head: str
    network: str
    hidden_size: int
    seq_length: int
    step: float
    dynamic: tuple[str, ...]
    static: tuple[str, ...]
    targets: tuple[str, ...]
    n_basins: int
    clipped: tuple[str, ...]
    embeddings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""
    slow: SlowBranch | None = None

    @classmethod
    def read(cls, path: Path, step: float | None = None) -> NhRun:
        """Read the file of a run, of versions 1.3 to 1.13; `step` in seconds where it does not say."""
        file = read_run_file(path)
        frequencies = _frequencies(path, file)
        keys = _Keys(path, file, frequencies[-1] if len(frequencies) > 1 else None)
        statics = _names(file.static_attributes or file.camels_attributes)
        clipped, targets = _names(file.clip_targets_to_zero), _names(file.target_variables)
        head = file.head.lower()
        return cls(
            path=path,
            model=file.model.lower(),
            head=head,
            network=MODELS[file.model.lower()],
            hidden_size=keys.positive("hidden_size"),
            seq_length=keys.positive("seq_length", MOST_STEPS),
            step=step or _step(keys, frequencies),
            dynamic=_dynamic_inputs(keys),
            # neuralhydrology sorts the columns of its table of attributes.
            static=tuple(sorted((*statics, *_names(file.hydroatlas_attributes)))),
            targets=targets,
            n_basins=keys.positive("number_of_basins") if file.use_basin_id_encoding else 0,
            clipped=tuple(name for name in targets if name in clipped),
            embeddings=_embeddings(keys),
            head_options=_head_options(keys, head),
            dataset=file.dataset.lower(),
            slow=_slow_branch(path, file, frequencies) if len(frequencies) > 1 else None,
        )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the dynamic inputs of both networks, those of the fast one first."""
        slow = () if self.slow is None else self.slow.dynamic
        return tuple(dict.fromkeys((*self.dynamic, *slow)))

    @cached_property
    def symbols(self) -> dict[str, str]:
        """Return the name here of each dynamic input and target; its own where two would be the same."""
        columns = {name: variables.forcing(name) for name in self.inputs}
        columns |= {name: variables.target(name, self.dataset) for name in self.targets}
        wanted = {name: column.symbol if column else name for name, column in columns.items()}
        counts = Counter(wanted.values())
        return {name: symbol if counts[symbol] == 1 else name for name, symbol in wanted.items()}


def read_run_file(path: Path) -> RunFile:
    """Read ``config.yml``, its keys checked against those of all versions.

    Raises
    ------
    ImportModelError, ConfigError
        Naming file and key.
    """
    content = read_yaml(path, ConfigError, aliases=MOST_ALIASES)
    known = {f.name for f in fields(RunFile)}
    # By name before anything else: a missing key of a model that is not read would not help.
    model = str(content.get("model")).lower()
    if model not in MODELS:
        raise ImportModelError(
            f"{path}: model {content.get('model')!r} cannot be imported; {alternatives(model, MODELS)}"
        )
    for key, value in content.items():
        if value and key in REFUSED:
            raise ImportModelError(f"{path}: {key}: {REFUSED[key]}: these have no counterpart here")
        if key not in known | IGNORED | OF_OTHER_MODELS | REFUSED.keys():
            raise ImportModelError(
                f"{path}: {key} is not a key of neuralhydrology 1.3 to 1.13; {alternatives(key, known)}"
            )
    return from_mapping(RunFile, {k: v for k, v in content.items() if k in known}, str(path))


@dataclass(frozen=True)
class _Keys:
    """The keys of a run's file for one of its time steps, whose errors name file and key."""

    path: Path
    file: RunFile
    frequency: str | None = None

    def error(self, key: str, problem: str) -> ImportModelError:
        """Return an error."""
        return ImportModelError(f"{self.path}: {key} {problem}")

    def value(self, key: str) -> Any:
        """Return a value; of a mapping by frequency that of this step, or the only one."""
        value = getattr(self.file, key)
        if not isinstance(value, Mapping):
            return value
        if self.frequency in value:
            return value[self.frequency]
        return next(iter(value.values())) if len(value) == 1 and self.frequency is None else value

    def positive(self, key: str, most: int = MOST_UNITS) -> int:
        """Return a whole number of at least one."""
        value = self.value(key)
        if not isinstance(value, int) or not 1 <= value <= most:
            raise self.error(key, f"must be a whole number from 1 to {most}, not {value!r}")
        return value


def _names(value: Names | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _dynamic_inputs(keys: _Keys) -> tuple[str, ...]:
    value: Any = keys.value("dynamic_inputs")
    if isinstance(value, Mapping):
        raise keys.error("dynamic_inputs", f"has {len(value)} frequencies; {keys.file.model} has one")
    flat = [name for group in value for name in ([group] if isinstance(group, str) else group)]
    if not flat or len({*flat}) != len(flat):
        raise keys.error("dynamic_inputs", "must name each input once, and at least one")
    return tuple(flat)


def _frequencies(path: Path, file: RunFile) -> tuple[str, ...]:
    """Return the time steps that the run names, the slowest first; as many as its model has, or none."""
    named = _names(file.use_frequencies)
    keys = _Keys(path, file)
    for name in named:
        if not _seconds(name):
            raise keys.error("use_frequencies", f"must be as 1D or 1h, not {name!r}")
    two = file.model.lower() == "mtslstm"
    if len(named) != 2 if two else len(named) > 1:
        needs = "two are imported" if two else "it has one"
        raise keys.error("use_frequencies", f"has {len(named)} frequencies; of {file.model} {needs}")
    return tuple(sorted(named, key=_seconds, reverse=True))


def _seconds(frequency: str) -> float:
    """Return the length of a frequency; 0 for one that is not understood."""
    match = _FREQUENCY.fullmatch(frequency)
    return 0.0 if match is None else int(match[1] or 1) * (DAY if match[2] == "D" else HOUR)


def _step(keys: _Keys, frequencies: tuple[str, ...]) -> float:
    """Return the seconds of a step: of the frequency, or by the period of a column; else a day."""
    if frequencies:
        return _seconds(frequencies[-1])
    dataset = keys.file.dataset.lower()
    if dataset.startswith("hourly_"):
        return HOUR
    columns = [variables.target(name, dataset) for name in _names(keys.file.target_variables)]
    columns += [variables.forcing(name) for name in _dynamic_inputs(keys)]
    periods = {column.period for column in columns if column is not None and column.period is not None}
    if len(periods) == 1:
        return periods.pop()
    if not dataset.startswith(("camels", "caravan", "lamah")):
        log.warning(
            "%s: neither use_frequencies nor a column tells the time step; a day is taken; give `step` "
            "(--step SECONDS) for another",
            keys.path,
        )
    return DAY


def _slow_branch(path: Path, file: RunFile, frequencies: tuple[str, ...]) -> SlowBranch:
    """Read the slow network of a model of two time steps."""
    slow, fast = (_Keys(path, file, frequency) for frequency in frequencies)
    for key in ("statics_embedding", "dynamics_embedding"):
        if getattr(file, key):
            raise slow.error(key, "of mtslstm has no counterpart here")
    if file.head.lower() == "umal":
        raise slow.error("head", "umal of mtslstm has no counterpart here")
    ratio = _seconds(frequencies[0]) / _seconds(frequencies[1])
    window = fast.positive("seq_length", MOST_STEPS)
    length = slow.positive("seq_length", MOST_STEPS)
    if ratio % 1 or ratio < 2 or window % ratio or not window // ratio < length:
        raise slow.error(
            "seq_length",
            f"of {frequencies[1]} must be whole steps of {frequencies[0]}, and fewer than its own",
        )
    transfer: dict[str, str | None] = {"h": "linear", "c": "linear"}
    for name, value in (file.transfer_mtslstm_states or {}).items():
        transfer[name] = None if value == "None" else value
    if transfer.keys() != {"h", "c"} or not {*transfer.values()} <= {"linear", "identity", None}:
        raise slow.error(
            "transfer_mtslstm_states", f"must say linear, identity or None of h and c: {transfer}"
        )
    return SlowBranch(
        slow=frequencies[0],
        fast=frequencies[1],
        ratio=int(ratio),
        hidden_size=slow.positive("hidden_size"),
        seq_length=length,
        dynamic=_dynamic_inputs(slow),
        transfer=transfer,
        shared=bool(file.shared_mtslstm),
    )


def _embeddings(keys: _Keys) -> dict[str, dict[str, Any]]:
    file = keys.file
    described = {}
    for which, value in (("statics", file.statics_embedding), ("dynamics", file.dynamics_embedding)):
        if value is True:  # as before 1.3, one for both
            value = EmbeddingKeys(
                file.embedding_hiddens or [],
                activation=file.embedding_activation or "tanh",
                dropout=file.embedding_dropout or 0.0,
            )
        if not value:
            continue
        assert isinstance(value, EmbeddingKeys)  # noqa: S101  the only other thing that is true
        sizes = [value.hiddens] if isinstance(value.hiddens, int) else list(value.hiddens)
        if value.type.lower() != "fc" or not sizes or min(sizes) < 1:
            raise keys.error(f"{which}_embedding", "must be of type fc, with a positive size for each layer")
        described[which] = {
            "hiddens": sizes,
            "activation": value.activation.lower(),
            "dropout": value.dropout,
        }
    return described


def _head_options(keys: _Keys, head: str) -> dict[str, Any]:
    file = keys.file
    if head not in HEADS:
        raise keys.error("head", f"{file.head!r} cannot be imported; {alternatives(head, HEADS)}")
    if head == "regression":
        activation = (file.output_activation or "linear").lower()
        # Any other is ignored by neuralhydrology, with a warning.
        return {"activation": activation if activation in ("relu", "softplus") else "linear"}
    if head != "umal":
        return {"n_distributions": keys.positive("n_distributions", MOST_COMPONENTS)}
    count = keys.positive("n_taus", MOST_COMPONENTS)
    low, high = file.tau_down, file.tau_up
    if low is None or high is None or not 0 <= low < high <= 1:
        raise keys.error("tau_down", f"and tau_up must be ascending numbers from 0 to 1, not {low}, {high}")
    return {"taus": [low + (high - low) * (k + 0.5) / count for k in range(count)]}
