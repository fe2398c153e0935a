"""The configuration of a dmg run, reduced to what determines the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ImportDmgError
from ...io.typed_yaml import read_yaml
from .section import WARMUP, Section, check_version

#: Where the configuration of a run is searched for, from the model directory.
CONFIGS = ("config.yaml", "../config.yaml", "../configs/config.yaml", "configs/config.yaml")


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
#: Process models that can be imported with each of their networks.
SUPPORTED = {**dict.fromkeys(LSTMS, ("Hbv", "Hbv_1_1p")), "LstmMlpModel": ("Hbv_2",)}
#: Their name of each forcing of the equations.
SYMBOLS = {"prcp": "P", "tmean": "T", "pet": "PET"}


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
    def read(cls, path: Path) -> DmgRun:
        """Read the file of a run, as dmg 1.4 and 1.5 and dhbv2 write it."""
        top = Section(read_yaml(path), path)
        check_version(top)
        model = top.section("model")
        phy, nn = model.section("phy"), model.section("nn")
        if str(top.content.get("multimodel_type") or "none") != "none":
            raise ImportDmgError(f"{path}: multimodel_type: ensembles of dmg cannot be imported")
        for section in (model, phy, nn):
            section.check_keys()
        phy_name, nn_name = _names(phy, nn)
        equations = EQUATIONS[phy_name]
        for key, only in (("comprout", False), ("elev_threshold", True)):
            if phy.flag(key, only) is not only:
                raise ImportDmgError(f"{path}: model.phy.{key}: {phy.content[key]} has no counterpart here")
        parameters, dynamic = _parameters(phy, phy_name)
        warmup = [s.integer(*WARMUP, least=0) for s in (model, phy) if any(k in s.content for k in WARMUP)]
        return cls(
            phy_name=phy_name,
            nn_name=nn_name,
            equations=Equations(equations.name, parameters, equations.routing),
            dynamic=dynamic,
            nmul=phy.integer("nmul", default=1),
            routing=phy.flag("routing", equations.routing),
            forcings=nn.names("forcings"),
            attributes=nn.names("attributes"),
            symbols=_symbols(phy),
            logarithmic=frozenset(model.names("use_log_norm") or phy.names("use_log_norm")),
            sizes=_sizes(nn, nn_name),
            days_seen=max(warmup, default=0) + model.integer("rho", default=0, least=0) or 365,
        )

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


def _names(phy: Section, nn: Section) -> tuple[str, str]:
    """Read the names of process model and network, and refuse a pair that has no counterpart."""
    phy_names, nn_name = phy.names("name"), " and ".join(nn.names("name")) or "no network"
    if len(phy_names) != 1 or phy_names[0] not in SUPPORTED.get(nn_name, ()):
        supported = "; ".join(f"{n} with {', '.join(p)}" for n, p in SUPPORTED.items())
        raise ImportDmgError(
            f"{phy.path}: {nn_name} with {', '.join(phy_names) or 'no process model'} cannot be imported; "
            f"supported: {supported}"
        )
    return phy_names[0], nn_name


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


def _symbols(phy: Section) -> dict[str, str]:
    """Read which of their columns are P, T and PET."""
    order = phy.names("variables") or tuple(SYMBOLS)
    columns = phy.names("forcings")
    if {*order} != {*SYMBOLS} or len(columns) < 3:
        raise ImportDmgError(
            f"{phy.path}: model.phy.forcings must name precipitation, temperature and potential "
            f"evapotranspiration; it names {', '.join(columns) or 'nothing'}"
        )
    return {columns[order.index(theirs)]: ours for theirs, ours in SYMBOLS.items()}


def _sizes(nn: Section, nn_name: str) -> dict[str, int]:
    if nn_name in LSTMS:
        return {"lstm": nn.integer("hidden_size")}
    return {"lstm": nn.integer("lstm_hidden_size"), "mlp": nn.integer("mlp_hidden_size")}
