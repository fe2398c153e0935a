"""Models trained with the public packages ``dmg`` 1.5 and ``dhbv2`` 0.6, as bundles.

Their model directory holds a checkpoint ``<model>_ep<epoch>.pt`` (a plain state dict) and
``normalization_statistics.json``; the configuration of the run is a YAML file elsewhere.
Nothing of these packages is needed to read them.
"""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ImportDmgError
from ..io.files import read_bytes, read_json, sha256
from ..io.typed_yaml import read_yaml
from ..model.bundle import Bundle
from ..model.delta_model import DeltaModel
from ..model.normalisation import FeatureStatistics
from ..model.roles import ParameterRole

log = logging.getLogger("dmg_bmi")

STATISTICS = "normalization_statistics.json"
ROUTING_LENGTH = 15
MAX_CHECKPOINT = 8 * 2**30
#: Names that torch.compile and DataParallel put before those of the model, in any order and number.
_WRAPPED = re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+")
#: Where the configuration of a run is looked for, from the model directory.
CONFIGS = ("config.yaml", "../config.yaml", "../configs/config.yaml", "configs/config.yaml")


@dataclass(frozen=True)
class Equations:
    """What stands for one of their process models.

    Parameters
    ----------
    name : str
        Registered here.
    parameters : tuple of str
        In the order of their network's outputs, without routing.
    routing : bool
        Whether they route when the configuration does not say.
    """

    name: str
    parameters: tuple[str, ...]
    routing: bool = True


_HBV = ("BETA", "FC", "K0", "K1", "K2", "LP", "PERC", "UZL", "TT", "CFMAX", "CFR", "CWH")
EQUATIONS = {
    "Hbv": Equations("hbv", _HBV),
    "Hbv_1_1p": Equations("hbv_1_1p", (*_HBV, "BETAET", "C")),
    "Hbv_2": Equations("hbv_2", (*_HBV, "BETAET", "C", "RT", "AC"), routing=False),
}
LSTMS = ("LstmModel", "CudnnLstmModel")
_LSTM_KEYS = {
    "linear_in.weight": "linear_in.weight",
    "linear_in.bias": "linear_in.bias",
    "lstm.weight_ih_l0": "lstm.w_ih",
    "lstm.weight_hh_l0": "lstm.w_hh",
    "lstm.bias_ih_l0": "lstm.b_ih",
    "lstm.bias_hh_l0": "lstm.b_hh",
    "linear_out.weight": "linear_out.weight",
    "linear_out.bias": "linear_out.bias",
}
#: Their MLP has seven hidden layers; ours counts linear, ReLU and dropout.
_MLP_LAYERS = ("i2h", *(f"h2h{i}" for i in range(1, 7)), "h2o")
_MLP_KEYS = {
    f"layers.{3 * i}.{part}": f"{layer}.{part}"
    for i, layer in enumerate(_MLP_LAYERS)
    for part in ("weight", "bias")
}


def import_dmg(
    folder: str | Path, config: str | Path | None = None, epoch: int | None = None, name: str | None = None
) -> Bundle:
    """A bundle from a model directory of ``dmg`` or ``dhbv2``.

    Parameters
    ----------
    folder : path
        With the checkpoint and the statistics.
    config : path, optional
        The configuration of the run; by default ``config.yaml`` in or above `folder`.
    epoch : int, optional
        Of the checkpoint; by default the last.
    name : str, optional
        Of the bundle.

    Returns
    -------
    Bundle
        Its provenance says what was imported and how static parameters are frozen.

    Raises
    ------
    ImportDmgError, ConfigError
        When anything is unknown, missing or of another shape: nothing is imported in part.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise ImportDmgError(f"{folder}: there is no such folder")
    spec = _Spec.read(_find_config(folder, config))
    checkpoint = _find_checkpoint(folder, spec.phy_name, epoch)
    content = read_bytes(checkpoint, ImportDmgError, MAX_CHECKPOINT)
    weights = _weights(content, checkpoint)
    widest = max(spec.sizes.values())
    # Before memory is taken: each layer has that many weights, of two bytes at least.
    if widest * max(widest, spec.nmul) > len(content):
        raise ImportDmgError(
            f"{checkpoint}: does not fit the configuration: it is too small for {widest} hidden units and "
            f"nmul {spec.nmul}"
        )
    model = spec.build(_statistics(folder / STATISTICS, spec))
    _load(model, weights, spec, checkpoint)
    return Bundle(
        model.eval(),
        name or f"{spec.phy_name.lower()}_{spec.nn_name.lower()}",
        f"{spec.nn_name} + {spec.phy_name}, imported from dmg",
        {
            "imported_from": f"dmg model {spec.phy_name} with {spec.nn_name}",
            "checkpoint": checkpoint.name,
            "checkpoint_sha256": sha256(content),
            "normalisation": "that of dmg's training: mean and standard deviation as stored, nothing added",
            "freezing": spec.freezing,
        },
    )


# -- the configuration ------------------------------------------------------------


@dataclass(frozen=True)
class _Spec:
    """What the configuration of a run says, in its own names where nothing else is said."""

    phy_name: str
    nn_name: str
    equations: Equations
    dynamic: tuple[str, ...]
    nmul: int
    routing: bool
    forcings: tuple[str, ...]
    attributes: tuple[str, ...]
    #: Their name of a forcing to P, T and PET.
    symbols: Mapping[str, str]
    logarithmic: frozenset[str]
    sizes: Mapping[str, int]
    #: Days that the network had seen when training took its static parameters.
    seen: int

    @classmethod
    def read(cls, path: Path) -> _Spec:
        """From the file of a run, as dmg 1.4 and 1.5 and dhbv2 write it."""
        top = _Section(read_yaml(path), path)
        _refuse_older(top)
        model = top.section("model")
        phy, nn = model.section("phy"), model.section("nn")
        if str(top.content.get("multimodel_type") or "none") != "none":
            raise ImportDmgError(f"{path}: multimodel_type: ensembles of dmg cannot be imported")
        for section in (model, phy, nn):
            _refuse_unknown(section)
        phy_name, nn_name = phy.names("name"), " and ".join(nn.names("name")) or "no network"
        supported = {**dict.fromkeys(LSTMS, ("Hbv", "Hbv_1_1p")), "LstmMlpModel": ("Hbv_2",)}
        if len(phy_name) != 1 or phy_name[0] not in supported.get(nn_name, ()):
            known = "; ".join(f"{n} with {', '.join(p)}" for n, p in supported.items())
            raise ImportDmgError(
                f"{path}: {nn_name} with {', '.join(phy_name) or 'no process model'} cannot be imported; "
                f"what can is {known}"
            )
        equations = EQUATIONS[phy_name[0]]
        for key, only in (("comprout", False), ("elev_threshold", True)):
            if phy.flag(key, only) is not only:
                raise ImportDmgError(f"{path}: model.phy.{key}: {phy.content[key]} has no counterpart here")
        dynamic: tuple[str, ...] = ()
        if phy.content.get("dynamic_params"):
            dynamic = phy.section("dynamic_params").names(phy_name[0])
            dynamic = tuple(n.removeprefix("par") for n in dynamic)
        # Their HBV 1.0 has BETAET only where it is dynamic.
        declared = equations.parameters + (
            ("BETAET",) if phy_name[0] == "Hbv" and "BETAET" in dynamic else ()
        )
        unknown = sorted({*dynamic} - {*declared})
        if unknown:
            raise ImportDmgError(f"{path}: {phy_name[0]} has no dynamic parameter {', '.join(unknown)}")
        order = phy.names("variables") or ("prcp", "tmean", "pet")
        columns = phy.names("forcings")
        if {*order} != {"prcp", "tmean", "pet"} or len(columns) < 3:
            raise ImportDmgError(
                f"{path}: model.phy.forcings must name precipitation, temperature and potential "
                f"evapotranspiration; it names {', '.join(columns) or 'nothing'}"
            )
        hidden = (
            {"lstm": "hidden_size"}
            if nn_name in LSTMS
            else {"lstm": "lstm_hidden_size", "mlp": "mlp_hidden_size"}
        )
        warmup = [s.integer(*WARMUP, least=0) for s in (model, phy) if any(k in s.content for k in WARMUP)]
        return cls(
            phy_name[0],
            nn_name,
            Equations(equations.name, declared, equations.routing),
            tuple(n for n in declared if n in dynamic),
            phy.integer("nmul", default=1),
            phy.flag("routing", equations.routing),
            nn.names("forcings"),
            nn.names("attributes"),
            {
                columns[order.index(theirs)]: ours
                for theirs, ours in (("prcp", "P"), ("tmean", "T"), ("pet", "PET"))
            },
            frozenset(model.names("use_log_norm") or phy.names("use_log_norm")),
            {key: nn.integer(option) for key, option in hidden.items()},
            max(warmup, default=0) + model.integer("rho", default=0, least=0) or 365,
        )

    @property
    def pair(self) -> bool:
        """Whether an LSTM gives the dynamic parameters and an MLP the static ones."""
        return self.nn_name not in LSTMS

    @property
    def freezing(self) -> str:
        """The rule, in words."""
        if self.pair:
            return "none is needed: static parameters come from attributes alone"
        return (
            f"static parameters follow the network for {self.seen} days, as long as it had seen in training, "
            "and are then held; dmg reads them on the last day of the window it is given "
            "(dmg-bmi freeze takes them from a window)"
        )

    def build(self, statistics: Mapping[str, FeatureStatistics]) -> DeltaModel:
        """A model of the same layout, weights yet to be loaded."""
        inputs = tuple(self.symbols.get(name, name) for name in self.forcings)
        phy: dict[str, Any] = {"name": self.equations.name, "nmul": self.nmul}
        if self.equations.name == "hbv":
            phy["betaet"] = "BETAET" in self.equations.parameters
        phy["routing"] = ROUTING_LENGTH if self.routing else None
        roles: list[ParameterRole] = []
        networks: dict[str, Any] = {}
        if self.dynamic or not self.pair:
            static = () if self.pair else None
            roles.append(
                ParameterRole(
                    inputs, self.attributes, self.dynamic, static, freeze_after=self.seen, network="lstm"
                )
            )
            networks["lstm"] = {"name": "lstm", "hidden_size": self.sizes["lstm"]}
        if self.pair:
            roles.append(ParameterRole((), self.attributes, network="mlp"))
            networks["mlp"] = {"name": "mlp", "hidden_sizes": [self.sizes["mlp"]] * (len(_MLP_LAYERS) - 1)}
        return DeltaModel.build(nn=networks, phy_model=phy, roles=roles, statistics=statistics)


@dataclass(frozen=True)
class _Section:
    """A section of a configuration, whose values are asked for by type."""

    content: Mapping[str, Any]
    path: Path
    above: str = ""

    def section(self, key: str) -> _Section:
        """The section of a key."""
        found = self.content.get(key)
        if not isinstance(found, Mapping):
            raise ImportDmgError(
                f"{self.path}: has no section {self.above}{key}; give the configuration of the run"
            )
        return _Section(found, self.path, f"{self.above}{key}.")

    def refuse(self, key: str, wanted: str) -> ImportDmgError:
        """An error that names the key and what is there."""
        value = self.content.get(key)
        shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]}..."
        hint = ""
        if isinstance(value, str) and "${" in value:
            hint = (
                "; Hydra has not resolved it: give the configuration that the run saved, or write the value"
            )
        return ImportDmgError(f"{self.path}: {self.above}{key} must be {wanted}, it is {shown}{hint}")

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names, which one name or nothing also is."""
        value = self.content.get(key)
        if value is None:
            return ()
        if isinstance(value, str) and "${" not in value:
            return (value,)
        if not isinstance(value, list) or not all(isinstance(v, str) and "${" not in v for v in value):
            raise self.refuse(key, "a list of names")
        return tuple(value)

    def integer(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """A whole number, under one of several keys."""
        given = [key for key in keys if self.content.get(key) is not None]
        if not given and default is not None:
            return default
        key = (given or keys)[0]
        value = self.content.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(key, f"a whole number from {least} on")
        if any(self.content[other] != value for other in given):
            raise self.refuse(key, f"the same as {self.above}{given[1]}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.content.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value


#: Days before a window that are not compared: 1.4 and dhbv2 write one, 1.5 the other.
WARMUP = ("warmup", "warm_up")
#: Sections of versions that named everything else.
OLDER = {"delta_model": "1.1 to 1.3", "dpl_model": "1.0", "dpl_model_config": "before 1.0"}
#: What a section of dmg 1.4, 1.5 or dhbv2 may hold. What is not among it may change the answers.
KNOWN = {
    "model.": {"rho", "use_log_norm", "phy", "nn", *WARMUP},
    "model.phy.": {
        *("name", "nmul", "dynamic_params", "routing", "forcings", "attributes", "variables", "comprout"),
        *("elev_threshold", "use_log_norm", "nearzero", "dy_drop", "stat_param_idx", "cache_states"),
        *("warm_up_states", "warmup_states", "muwts", "ann_opt", "ad_efficient", "parameters", *WARMUP),
    },
    "model.nn.": {
        *("name", "forcings", "attributes", "hidden_size", "lstm_hidden_size", "mlp_hidden_size", "dropout"),
        *("lstm_dropout", "mlp_dropout", "lr", "learning_rate", "lr_scheduler", "lr_scheduler_params"),
        *("cache_states", "activation"),
    },
}


def _refuse_older(top: _Section) -> None:
    for key, version in OLDER.items():
        if key in top.content:
            raise ImportDmgError(
                f"{top.path}: section {key} is how dmg {version} wrote it; write it as 1.5 does, with the "
                "sections model.phy and model.nn, and check that its HBV is the one of 1.5"
            )
    model = top.content.get("model")
    if isinstance(model, Mapping) and {"phy_model", "nn_model"} & model.keys():
        raise ImportDmgError(
            f"{top.path}: sections model.phy_model and model.nn_model are how dmg 1.1 to 1.3 wrote them; 1.5 "
            "has model.phy and model.nn"
        )


def _refuse_unknown(section: _Section) -> None:
    """Refuse what looks like a known key of another spelling; tell what else is not read."""
    known = KNOWN[section.above]
    for key in map(str, section.content):
        if key in known:
            continue
        close = get_close_matches(key.lower(), known, n=1, cutoff=0.75)
        if close:
            raise ImportDmgError(
                f"{section.path}: {section.above}{key} is no key of dmg 1.4, 1.5 or dhbv2; "
                f"did you mean {close[0]}?"
            )
        log.warning("%s: %s%s is not known here and not read", section.path, section.above, key)


# -- files ------------------------------------------------------------------------


def _find_config(folder: Path, config: str | Path | None) -> Path:
    if config is not None:
        return Path(config)
    for candidate in CONFIGS:
        if os.path.isfile(folder / candidate):
            return folder / candidate
    raise ImportDmgError(f"{folder}: found none of {', '.join(CONFIGS)}; name the run's configuration")


def _find_checkpoint(folder: Path, model: str, epoch: int | None) -> Path:
    found = {
        int(match[1]): file
        for file in folder.glob("*.pt")
        if (match := re.fullmatch(rf"{re.escape(model.lower())}_ep(\d+)\.pt", file.name))
    }
    wanted = epoch if epoch is not None else max(found, default=None)
    if wanted not in found:
        there = ", ".join(sorted(f.name for f in folder.glob("*.pt"))) or "no checkpoint"
        raise ImportDmgError(
            f"{folder}: has no {model.lower()}_ep{'<epoch>' if epoch is None else epoch}.pt; there is {there}"
        )
    return found[wanted]


def _statistics(path: Path, spec: _Spec) -> dict[str, FeatureStatistics]:
    given = read_json(path, ImportDmgError)
    if not isinstance(given, dict):
        raise ImportDmgError(f"{path}: must map names to statistics, it holds {type(given).__name__}")
    names = (*spec.forcings, *spec.attributes)
    missing = [n for n in names if n not in given]
    if missing:
        raise ImportDmgError(f"{path}: lacks the statistics of {', '.join(missing)}")
    result = {}
    units = {"P": "mm", "T": "degC", "PET": "mm"}
    for name in names:
        try:
            _, _, mean, std = (float(number) for number in given[name])
            if not (isfinite(mean) and isfinite(std) and std >= 0):
                raise ValueError("not finite")
        except (TypeError, ValueError, OverflowError) as problem:
            raise ImportDmgError(
                f"{path}: {name} must be [10th percentile, 90th percentile, mean, std], not {given[name]}"
            ) from problem
        symbol = spec.symbols.get(name, name)
        result[symbol] = FeatureStatistics(
            mean, std, "log_sqrt" if name in spec.logarithmic else "none", units.get(symbol, "")
        )
    return result


def _weights(content: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict, under the names that the model itself has."""
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as parts:
                # torch.save compresses nothing; what does can grow a thousandfold.
                if sum(part.file_size for part in parts.infolist()) > len(content):
                    raise ValueError("its parts are larger than the file")
        weights = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # the unpickler answers torn bytes with whatever its parser meets
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ImportDmgError(f"{path}: holds more than weights, or is torn: {reason}") from problem
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise ImportDmgError(f"{path}: is not a state dict of weights")
    for name, weight in weights.items():
        if not _is_plain(weight):
            raise ImportDmgError(
                f"{path}: is not a state dict of weights: {name} is no tensor of plain numbers"
            )
    plain = {_WRAPPED.sub(r"\1", name): weight for name, weight in weights.items()}
    if len(plain) != len(weights):
        raise ImportDmgError(f"{path}: holds weights of one name with a wrapper's prefix and without")
    return plain


def _is_plain(weight: object) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and weight.layout is torch.strided
        and not weight.is_nested
        and weight.device.type == "cpu"  # not "meta", which has no numbers
    )


# -- weights ----------------------------------------------------------------------


def _load(model: DeltaModel, theirs: Mapping[str, Tensor], spec: _Spec, path: Path) -> None:
    """Their weights into the model, output rows in its order."""
    routed = ("route_a", "route_b") if spec.routing else ()
    if spec.pair:
        static = tuple(name for name in spec.equations.parameters if name not in spec.dynamic)
        layout = {
            "lstm": ("nn_model.lstminv.", _LSTM_KEYS, spec.dynamic),
            "mlp": ("nn_model.ann.", _MLP_KEYS, (*static, *routed)),
        }
    else:
        layout = {"lstm": ("nn_model.", _LSTM_KEYS, (*spec.equations.parameters, *routed))}
    sources: dict[str, str] = {}
    rows: dict[str, list[int]] = {}
    for role in model.roles:
        assert isinstance(role, ParameterRole)  # noqa: S101  as built above
        prefix, keys, order = layout.pop(role.network)
        sources |= {f"nn.{role.network}.{ours}": prefix + name for ours, name in keys.items()}
        permuted = _rows(order, role.supplied, spec.nmul)
        rows |= {f"nn.{role.network}.{name}": permuted for name in [*keys][-2:]}
    # The LSTM of a pair without dynamic parameters has no outputs, so nothing depends on it.
    idle = tuple(prefix for prefix, _, _ in layout.values())
    _compare(
        {sources[k]: list(v.shape) for k, v in model.state_dict().items()},
        {k: list(v.shape) for k, v in theirs.items() if not (idle and k.startswith(idle))},
        path,
    )
    # Only now, since a tensor that fits no place may be of any size.
    loaded = {k: theirs[source].float() for k, source in sources.items()}
    for k, weight in loaded.items():
        if not bool(torch.isfinite(weight).all()):
            raise ImportDmgError(
                f"{path}: {sources[k]} holds numbers that are not finite; take an earlier epoch"
            )
    model.load_state_dict({k: v[rows[k]] if k in rows else v for k, v in loaded.items()})


def _rows(order: Sequence[str], supplied: Sequence[str], nmul: int) -> list[int]:
    """Their output rows, parameter by parameter and component by component, in the order `supplied`."""
    start, at = {}, 0
    for name in order:
        start[name] = range(at, at + (1 if name.startswith("route_") else nmul))
        at = start[name].stop
    return [row for name in supplied for row in start[name]]


def _compare(expected: Mapping[str, list[int]], found: Mapping[str, list[int]], path: Path) -> None:
    problems = [f"lacks {k}" for k in expected if k not in found]
    problems += [f"holds {k}, which this configuration has no place for" for k in found if k not in expected]
    problems += [
        f"{k} is {found[k]}, the configuration says {shape}"
        for k, shape in expected.items()
        if found.get(k, shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ImportDmgError(f"{path}: does not fit the configuration: {'; '.join(problems[:3])}{more}")
