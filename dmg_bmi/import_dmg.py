"""Models trained with the public packages ``dmg`` 1.5 and ``dhbv2`` 0.6, as bundles.

Their model directory holds a checkpoint ``<model>_ep<epoch>.pt`` (a plain state dict) and
``normalization_statistics.json``; the configuration of the run is a YAML file elsewhere.
Nothing of these packages is needed to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bundle import Bundle
from .config import read_yaml
from .delta_model import DeltaModel
from .errors import ImportDmgError
from .files import sha256
from .normalisation import Statistic
from .roles import ParameterRole

STATISTICS = "normalization_statistics.json"
ROUTING_LENGTH = 15
MAX_CHECKPOINT = 8 * 2**30
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
    if not folder.is_dir():
        raise ImportDmgError(f"{folder}: there is no such folder")
    spec = _Spec.read(_find_config(folder, config))
    checkpoint = _find_checkpoint(folder, spec.phy_name, epoch)
    model = spec.build(_statistics(folder / STATISTICS, spec))
    content = checkpoint.read_bytes()
    _load(model, _weights(checkpoint), spec, checkpoint)
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
        """From the file of a run."""
        content = read_yaml(path)
        model = _section(content, "model", path)
        phy, nn = _section(model, "phy", path, "model."), _section(model, "nn", path, "model.")
        if str(content.get("multimodel_type") or "none") != "none":
            raise ImportDmgError(f"{path}: multimodel_type: ensembles of dmg cannot be imported")
        phy_name, nn_name = _names(phy.get("name")), str(nn.get("name"))
        supported = {**dict.fromkeys(LSTMS, ("Hbv", "Hbv_1_1p")), "LstmMlpModel": ("Hbv_2",)}
        if len(phy_name) != 1 or phy_name[0] not in supported.get(nn_name, ()):
            known = "; ".join(f"{n} with {', '.join(p)}" for n, p in supported.items())
            raise ImportDmgError(
                f"{path}: {nn_name} with {', '.join(phy_name) or 'no process model'} cannot be imported; "
                f"what can is {known}"
            )
        equations = EQUATIONS[phy_name[0]]
        for key, only in (("comprout", False), ("elev_threshold", True)):
            if phy.get(key, only) is not only:
                raise ImportDmgError(f"{path}: model.phy.{key}: {phy[key]} has no counterpart here")
        given = phy.get("dynamic_params") or {}
        dynamic = [n.removeprefix("par") for n in _names(given.get(phy_name[0]))]
        # Their HBV 1.0 has BETAET only where it is dynamic.
        declared = equations.parameters + (
            ("BETAET",) if phy_name[0] == "Hbv" and "BETAET" in dynamic else ()
        )
        unknown = sorted({*dynamic} - {*declared})
        if unknown:
            raise ImportDmgError(f"{path}: {phy_name[0]} has no dynamic parameter {', '.join(unknown)}")
        order = _names(phy.get("variables")) or ("prcp", "tmean", "pet")
        columns = _names(phy.get("forcings"))
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
        return cls(
            phy_name[0],
            nn_name,
            Equations(equations.name, declared, equations.routing),
            tuple(n for n in declared if n in dynamic),
            int(phy.get("nmul") or 1),
            bool(phy.get("routing", equations.routing)),
            _names(nn.get("forcings")),
            _names(nn.get("attributes")),
            {
                columns[order.index(theirs)]: ours
                for theirs, ours in (("prcp", "P"), ("tmean", "T"), ("pet", "PET"))
            },
            frozenset(_names(model.get("use_log_norm"))),
            {key: _integer(nn, option, path) for key, option in hidden.items()},
            int(model.get("warmup") or phy.get("warmup") or 0) + int(model.get("rho") or 0) or 365,
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

    def build(self, statistics: Mapping[str, Statistic]) -> DeltaModel:
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


def _section(mapping: Mapping[str, Any], key: str, path: Path, above: str = "") -> Mapping[str, Any]:
    section = mapping.get(key)
    if not isinstance(section, Mapping):
        raise ImportDmgError(f"{path}: has no section {above}{key}; give the configuration of the run")
    return section


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value or ())


def _integer(section: Mapping[str, Any], key: str, path: Path) -> int:
    value = section.get(key)
    if not isinstance(value, int) or value < 1:
        raise ImportDmgError(f"{path}: model.nn.{key} must be a whole number above zero, it is {value!r}")
    return value


# -- files ------------------------------------------------------------------------


def _find_config(folder: Path, config: str | Path | None) -> Path:
    if config is not None:
        return Path(config)
    for candidate in CONFIGS:
        if (folder / candidate).is_file():
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


def _statistics(path: Path, spec: _Spec) -> dict[str, Statistic]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ImportDmgError(f"{path}: cannot be read ({problem.strerror}); training wrote it") from problem
    except ValueError as problem:
        raise ImportDmgError(f"{path}: is not valid JSON: {problem}") from problem
    names = (*spec.forcings, *spec.attributes)
    missing = [n for n in names if n not in given]
    if missing:
        raise ImportDmgError(f"{path}: lacks the statistics of {', '.join(missing)}")
    result = {}
    units = {"P": "mm", "T": "degC", "PET": "mm"}
    for name in names:
        try:
            _, _, mean, std = (float(number) for number in given[name])
        except (TypeError, ValueError) as problem:
            raise ImportDmgError(
                f"{path}: {name} must be [10th percentile, 90th percentile, mean, std], not {given[name]}"
            ) from problem
        symbol = spec.symbols.get(name, name)
        result[symbol] = Statistic(
            mean, std, "log_sqrt" if name in spec.logarithmic else "none", units.get(symbol, "")
        )
    return result


def _weights(path: Path) -> dict[str, Tensor]:
    if path.stat().st_size > MAX_CHECKPOINT:
        raise ImportDmgError(f"{path}: larger than {MAX_CHECKPOINT >> 30} GiB")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # the unpickler answers torn bytes with whatever its parser meets
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ImportDmgError(f"{path}: holds more than weights, or is torn: {reason}") from problem
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise ImportDmgError(f"{path}: is not a state dict of weights")
    return weights


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
    loaded = {k: theirs[source].float() for k, source in sources.items()}
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
