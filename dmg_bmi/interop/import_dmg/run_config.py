"""The configuration of a dmg run, reduced to what determines the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ...errors import ImportDmgError
from .section import WARMUP, Section, is_warmup

log = logging.getLogger("dmg_bmi")
#: Where the configuration of a run is searched for, from the model directory.
CONFIGS = tuple(
    above + place
    for place in ("config.yaml", ".hydra/config.yaml", "configs/config.yaml")
    for above in ("", "../")
)


@dataclass(frozen=True)
class Equations:
    """The counterpart of one of their process models.

    Parameters
    ----------
    name : str
        Name in the registry here.
    parameters : tuple of str
        In the order of their network's outputs, without routing.
    routing : bool
        Whether they route where the configuration does not say.
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
#: Ensembles that a network weighs, trained with its models or after them: the same when they run.
ENSEMBLES = ("nn_parallel", "nn_sequential")
#: Process models that can be imported with each of their networks.
SUPPORTED = {**dict.fromkeys(LSTMS, ("Hbv", "Hbv_1_1p")), "LstmMlpModel": ("Hbv_2",)}
#: Their name of each forcing of the equations.
SYMBOLS = {"prcp": "P", "tmean": "T", "pet": "PET"}
#: mm that theirs may leave in a store, which is nothing in the flow.
LARGEST_FLOOR = 1e-4
UNITS = {"P": "mm", "T": "degC", "PET": "mm"}


@dataclass(frozen=True)
class DmgRun:
    """A dmg configuration, in its own names except where stated.

    Parameters
    ----------
    phy_name, nn_name : str
    equations : Equations
    dynamic : tuple of str
        Dynamic parameters, without their prefix ``par``.
    nmul : int
    routing : bool
    forcings, attributes : tuple of str
        Inputs of the network.
    symbols : mapping of str to str
        Their name of a forcing to P, T and PET.
    logarithmic : frozenset of str
        Inputs that are normalised in logarithms.
    sizes : mapping of str to int
        Hidden units by network here, ``lstm`` and ``mlp``.
    days_seen : int
        Days that the network had seen when training took its static parameters.
    """

    phy_name: str
    nn_name: str
    equations: Equations
    dynamic: tuple[str, ...]
    nmul: int
    routing: bool
    forcings: tuple[str, ...]
    attributes: tuple[str, ...]
    symbols: Mapping[str, str]
    logarithmic: frozenset[str]
    sizes: Mapping[str, int]
    days_seen: int

    @classmethod
    def read(cls, top: Section, phy_name: str) -> DmgRun:
        """Read what a configuration says of one of its process models."""
        model = top.section("model")
        phy, nn = model.section("phy"), model.section("nn")
        for section in (model, phy, nn):
            section.check_keys()
        nn_name = " and ".join(nn.names("name")) or "no network"
        if phy_name not in SUPPORTED.get(nn_name, ()):
            supported = "; ".join(f"{n} with {', '.join(p)}" for n, p in SUPPORTED.items())
            raise ImportDmgError(
                f"{top.path}: {nn_name} with {phy_name} cannot be imported; supported: {supported}"
            )
        equations = EQUATIONS[phy_name]
        check_options(phy)
        parameters, dynamic = _parameters(phy, phy_name)
        warmup = [s.integer(*WARMUP, least=0) for s in (model, phy) if any(k in s.content for k in WARMUP)]
        if not warmup:
            top.require_placed("model.warmup", is_warmup)
        return cls(
            phy_name=phy_name,
            nn_name=nn_name,
            equations=Equations(equations.name, parameters, equations.routing),
            dynamic=dynamic,
            nmul=phy.integer("nmul", default=1),
            routing=phy.flag("routing", equations.routing),
            forcings=nn.names("forcings"),
            attributes=nn.names("attributes"),
            symbols=read_symbols(phy),
            logarithmic=_logarithmic(top, model, phy, {*nn.names("forcings"), *nn.names("attributes")}),
            sizes=_sizes(nn, nn_name),
            days_seen=max(warmup, default=0) + model.integer("rho", default=0, least=0) or 365,
        )

    @property
    def key(self) -> str:
        """Return the key of the process model in an ensemble."""
        return self.phy_name.lower()

    @property
    def pair(self) -> bool:
        """Return whether an LSTM supplies the dynamic parameters and an MLP the static ones."""
        return self.nn_name not in LSTMS

    @property
    def freezing(self) -> str:
        """Describe for people how static parameters are frozen."""
        if self.pair:
            return "none is needed: static parameters come from attributes alone"
        return (
            f"static parameters follow the network for {self.days_seen} days, as long as it had seen in "
            "training, and are then held; dmg reads them on the last day of the window it is given "
            "(dmg-bmi freeze takes them from a window)"
        )


def find_config(folder: Path, config: str | Path | None) -> Path:
    """Return the configuration of a run: the given one, or the first found near the model directory."""
    if config is not None:
        return Path(config)
    for candidate in CONFIGS:
        if os.path.isfile(folder / candidate):
            return folder / candidate
    raise ImportDmgError(f"{folder}: found none of {', '.join(CONFIGS)}; name the run's configuration")


@dataclass(frozen=True)
class Weighting:
    """The network that weighs the models of an ensemble of dmg, by a sigmoid of each output.

    Parameters
    ----------
    size : int
        Hidden units of its LSTM.
    """

    size: int

    @classmethod
    def read(cls, top: Section) -> Weighting:
        """Read the section ``multimodel``."""
        section, nn = top.section("multimodel"), top.section("model").section("nn")
        section.check_keys()
        name = section.names("name") or section.names("model")
        if len(name) != 1 or name[0] not in LSTMS:
            raise section.error("model", f"one of {', '.join(LSTMS)}")
        if section.flag("mosaic", False):
            raise section.error("mosaic", "false: the best model of each step has no counterpart here")
        for key in ("forcings", "attributes"):
            if key in section.content and section.names(key) != nn.names(key):
                raise section.error(key, f"the same as model.nn.{key}, which dmg shows this network")
        scaling = section.content.get("scaling_function", "sigmoid")
        if scaling != "sigmoid":
            raise section.error(
                "scaling_function",
                "sigmoid: the softmax of dmg 1.5 runs over the basins of a batch, not the models",
            )
        return cls(section.integer("hidden_size"))


def read_runs(top: Section) -> tuple[tuple[DmgRun, ...], Weighting | None]:
    """Read the model of a configuration; or those of an ensemble, and what weighs them."""
    names = top.section("model").section("phy").names("name")
    kind = str(top.content.get("multimodel_type") or "none")
    if kind == "none":
        if len(names) != 1:
            raise ImportDmgError(
                f"{top.path}: model.phy.name must be one process model where multimodel_type is none; it "
                f"names {', '.join(names) or 'none'}"
            )
        return (DmgRun.read(top, names[0]),), None
    if kind not in ENSEMBLES or len(names) < 2 or len({*names}) < len(names):
        raise ImportDmgError(
            f"{top.path}: multimodel_type: {kind!r} with {', '.join(names) or 'no process model'} cannot be "
            f"imported; it must be {' or '.join(ENSEMBLES)} with two models or more. dmg 1.5 computes no "
            "ensemble of type avg"
        )
    return tuple(DmgRun.read(top, name) for name in names), Weighting.read(top)


def _logarithmic(top: Section, model: Section, phy: Section, inputs: set[str]) -> frozenset[str]:
    """Read which inputs are normalised in logarithms, in whichever of the sections says it."""
    said = [frozenset(s.names("use_log_norm")) for s in (model, phy) if s.content.get("use_log_norm")]
    if len({*said}) > 1:
        raise phy.error("use_log_norm", "the same as model.use_log_norm")
    if not said:
        top.require_placed("model.use_log_norm", lambda key: key == "use_log_norm")
    names = next(iter(said), frozenset())
    for name in sorted(names - inputs):  # dmg lists flow there, too, which is no input
        if meant := get_close_matches(name, inputs - names, n=1, cutoff=0.75):
            raise ImportDmgError(
                f"{top.path}: use_log_norm names {name}, which is no input of the network; "
                f"did you mean {meant[0]}?"
            )
        log.warning("%s: use_log_norm names %s, which is no input of the network", top.path, name)
    return names


def check_options(phy: Section) -> None:
    """Refuse options of the equations that have no counterpart here."""
    for key, only in (("comprout", False), ("elev_threshold", True)):
        if phy.flag(key, only) is not only:
            raise ImportDmgError(f"{phy.path}: {phy.prefix}{key}: {phy.content[key]} has no counterpart here")
    floor = phy.content.get("nearzero", LARGEST_FLOOR)
    try:  # YAML reads 1e-5, without a dot, as text
        within = not isinstance(floor, bool) and 0.0 <= float(floor) <= LARGEST_FLOOR
    except (TypeError, ValueError):
        within = False
    if not within:
        raise phy.error("nearzero", f"a number from 0 to {LARGEST_FLOOR:g} mm: stores here have no floor")


def _parameters(phy: Section, phy_name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the parameters in the order of their network's outputs, and which of them are dynamic."""
    dynamic: tuple[str, ...] = ()
    if phy.content.get("dynamic_params"):
        dynamic = phy.section("dynamic_params").names(phy_name)
        dynamic = tuple(n.removeprefix("par") for n in dynamic)
    parameters = EQUATIONS[phy_name].parameters
    if phy_name == "Hbv" and "BETAET" in dynamic:  # their HBV 1.0 has it only where it is dynamic
        parameters = (*parameters, "BETAET")
    unknown = sorted({*dynamic} - {*parameters})
    if unknown:
        raise ImportDmgError(f"{phy.path}: {phy_name} has no dynamic parameter {', '.join(unknown)}")
    return parameters, tuple(n for n in parameters if n in dynamic)


def read_symbols(phy: Section) -> dict[str, str]:
    """Read which of their columns are P, T and PET."""
    order = phy.names("variables") or tuple(SYMBOLS)
    columns = phy.names("forcings")
    if {*order} != {*SYMBOLS} or len(columns) < 3:
        raise ImportDmgError(
            f"{phy.path}: {phy.prefix}forcings must name precipitation, temperature and potential "
            f"evapotranspiration; it names {', '.join(columns) or 'nothing'}"
        )
    return {columns[order.index(theirs)]: ours for theirs, ours in SYMBOLS.items()}


def _sizes(nn: Section, nn_name: str) -> dict[str, int]:
    if nn_name in LSTMS:
        return {"lstm": nn.integer("hidden_size")}
    return {"lstm": nn.integer("lstm_hidden_size"), "mlp": nn.integer("mlp_hidden_size")}
