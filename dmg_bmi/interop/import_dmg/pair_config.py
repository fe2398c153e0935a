"""The configuration and statistics of a multi-timescale model of dhbv2, reduced to what determines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ...errors import ImportDmgError
from ...io.files import read_json
from ...model.normalisation import FeatureStatistics
from .run_config import EQUATIONS, UNITS, check_options, read_symbols
from .section import Section

NAME = "Hbv_2_mts"
SLOW = "Hbv_2"
#: Their hourly models: ours, and the parameters beside those of HBV 2.0.
HOURLY = {
    "Hbv_2_hourly": ("hbv_2_hourly", ("F0", "FMIN", "ALPHA")),
    "Hbv_2_1_hourly": ("hbv_2_1_hourly", ("F0", "ALPHA", "KS")),
}
#: What dhbv2 adds to each standard deviation before it divides by it.
EPSILON = 1e-6
#: Days of spin-up where the configuration does not say.
WINDOW = 351


@dataclass(frozen=True)
class Part:
    """One of the two models of a pair.

    Parameters
    ----------
    name : str
        Of its equations here.
    dynamic, static : tuple of str
        Parameters from its LSTM, and from its MLP, in the order of their outputs.
    nmul : int
    inputs : tuple of str
        Forcings of its LSTM, as symbols.
    attributes : tuple of str
    sizes : mapping of str to int
        Hidden units of ``lstm``, ``mlp`` and, in the hourly one, ``mlp2``.
    """

    name: str
    dynamic: tuple[str, ...]
    static: tuple[str, ...]
    nmul: int
    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    sizes: Mapping[str, int]

    @classmethod
    def read(cls, phy: Section, nn: Section, names: Mapping[str, tuple[str, tuple[str, ...]]]) -> Part:
        """Read the sections of one of the models, whose equations are one of `names`."""
        for section in (phy, nn):
            section.check_keys()
        theirs = phy.names("name")
        if len(theirs) != 1 or theirs[0] not in names:
            raise phy.error("name", f"one of {', '.join(names)}")
        check_options(phy)
        if phy.names("use_log_norm"):
            raise phy.error("use_log_norm", "empty: dhbv2 takes no logarithms")
        name, more = names[theirs[0]]
        parameters = (*EQUATIONS[SLOW].parameters, *more)
        dynamic: tuple[str, ...] = ()
        if phy.content.get("dynamic_params"):
            dynamic = tuple(n.removeprefix("par") for n in phy.section("dynamic_params").names(theirs[0]))
        unknown = sorted({*dynamic} - {*parameters})
        if unknown or not dynamic:
            problem = (
                f"has no dynamic parameter {', '.join(unknown)}" if unknown else "needs dynamic parameters"
            )
            raise ImportDmgError(f"{phy.path}: {phy.prefix}dynamic_params: {theirs[0]} {problem}")
        symbols = read_symbols(phy)
        inputs = nn.names("forcings")
        if {*inputs} != {*symbols}:
            raise nn.error("forcings", f"those of the equations, {', '.join(symbols)}")
        keys = {"lstm": "lstm_hidden_size", "mlp": "mlp_hidden_size", "mlp2": "mlp2_hidden_size"}
        return cls(
            name,
            tuple(p for p in parameters if p in dynamic),
            tuple(p for p in parameters if p not in dynamic),
            phy.integer("nmul", default=1),
            tuple(symbols[n] for n in inputs),
            nn.names("attributes"),
            {k: nn.integer(key) for k, key in keys.items() if k != "mlp2" or more},
        )


@dataclass(frozen=True)
class PairRun:
    """A configuration of the multi-timescale model.

    Parameters
    ----------
    slow, fast : Part
    routing : bool
        Whether runoff passes the hydrographs to a gauge. dhbv2 writes false: its component publishes
        runoff as generated, which a framework routes; its training routes to gauges in any case.
    routing_attributes : tuple of str
        What the network of the hydrographs sees.
    days : int
        Steps of the slow model in which a row is spun up.
    """

    slow: Part
    fast: Part
    routing: bool
    routing_attributes: tuple[str, ...]
    days: int

    @classmethod
    def read(cls, top: Section) -> PairRun:
        """Read the file of a run."""
        model = top.section("model")
        phy, nn = model.section("phy"), model.section("nn")
        for section in (model, phy, nn):
            section.check_keys()
        if model.names("use_log_norm"):
            raise model.error("use_log_norm", "empty: dhbv2 takes no logarithms")
        lof, hif = (phy.section(key) for key in ("lof_model", "hif_model"))
        nn_lof, nn_hif = (nn.section(key) for key in ("lof_model", "hif_model"))
        for section, name in ((nn_lof, "LstmMlpModel"), (nn_hif, "LstmMlp2Model")):
            if section.names("name") != (name,):
                raise section.error("name", name)
        slow = Part.read(lof, nn_lof, {SLOW: ("hbv_2", ())})
        fast = Part.read(hif, nn_hif, HOURLY)
        if fast.static[: len(slow.static)] != slow.static:
            raise hif.error("dynamic_params", "those of lof_model, since both share the other parameters")
        if fast.nmul != slow.nmul:
            raise hif.error("nmul", f"that of lof_model, {slow.nmul}")
        if fast.attributes != slow.attributes:
            raise nn_hif.error("attributes", "those of lof_model, in the same order")
        _check_sums(hif)
        if lof.flag("routing", False):
            raise lof.error("routing", "false: the daily model hands over before its runoff is routed")
        routing = hif.flag("routing", False)
        return cls(
            slow, fast, routing, nn_hif.names("attributes2"), lof.integer("window_size", default=WINDOW)
        )

    def statistics(self, path: Path) -> tuple[dict[str, FeatureStatistics], ...]:
        """Read the statistics: of the slow model, of the fast one, and of the network of the hydrographs."""
        content = read_json(path, ImportDmgError)
        if not isinstance(content, dict) or not all(
            isinstance(content.get(k), dict) for k in ("mean", "std")
        ):
            raise ImportDmgError(f"{path}: must hold the sections mean and std, as dhbv2 writes them")
        if content.get("norm_dyn_indexes"):
            raise ImportDmgError(
                f"{path}: norm_dyn_indexes: {content['norm_dyn_indexes']} has no counterpart here"
            )
        static = _statistics(content, "static_input", self.slow.attributes, path)
        daily = _statistics(content, "dyn_input_daily", self.slow.inputs, path)
        hourly = _statistics(content, "dyn_input", self.fast.inputs, path)
        routing = _statistics(content, "rout_static_input", self.routing_attributes, path)
        return daily | static, hourly | static, routing


def _check_sums(hif: Section) -> None:
    """Refuse an aggregation to days that is not ours: water adds up, temperature averages."""
    sums = hif.content.get("agg_timescale_dim", [0, 2])
    symbols = [*read_symbols(hif).items()]
    columns = {name: k for k, name in enumerate(hif.names("forcings"))}
    expected = sorted(columns[name] for name, symbol in symbols if symbol != "T")
    if not isinstance(sums, list) or sorted(map(str, sums)) != sorted(map(str, expected)):
        raise hif.error("agg_timescale_dim", f"{expected}: precipitation and evapotranspiration add up")


def _statistics(
    content: Mapping[str, Any], key: str, names: Sequence[str], path: Path
) -> dict[str, FeatureStatistics]:
    columns = []
    for section in ("mean", "std"):
        values = content[section].get(key)
        if not isinstance(values, list) or len(values) != len(names):
            raise ImportDmgError(
                f"{path}: {section}.{key} must be a list of {len(names)} numbers, one for each of "
                f"{', '.join(names)}"
            )
        columns.append(values)
    statistics = {}
    for name, mean, std in zip(names, *columns, strict=True):
        numbers = [v for v in (mean, std) if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) != 2 or not all(isfinite(v) for v in numbers) or std < 0:
            raise ImportDmgError(
                f"{path}: mean and std of {key} must be finite numbers, those of {name} are not"
            )
        statistics[name] = FeatureStatistics(float(mean), float(std) + EPSILON, "none", UNITS.get(name, ""))
    return statistics
