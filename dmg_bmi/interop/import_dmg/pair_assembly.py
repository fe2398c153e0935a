"""The multi-timescale model of dhbv2 as one model: a daily one that spins up, an hourly one that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ImportDmgError
from ...model.bundle import Bundle
from ...model.delta_model import DAY, DeltaModel
from ...model.normalisation import FeatureStatistics
from ...model.pair import ModelPair
from ...model.roles import ParameterRole
from ...model.spin_up import SpinUpModel
from .checkpoint import Checkpoint, find_checkpoint
from .pair_config import NAME, PairRun, Part
from .section import Section
from .statistics import FILE

HOUR = 3600.0
#: Hours of the hydrograph: the 72 that theirs keeps, and the longest lag.
ROUTING_LENGTH = 72 + 48
ROUTING = ("route_a", "route_b", "route_tau")
#: Hidden layers of their MLPs.
LAYERS = 3
GATES = ("weight_hh_l0", "bias_hh_l0")
Weights = Mapping[str, Tensor]


def import_pair(folder: Path, top: Section, epoch: int | None, name: str | None) -> Bundle:
    """Make a bundle of a multi-timescale model, see :func:`~.assembly.import_dmg`."""
    run = PairRun.read(top)
    checkpoint = Checkpoint.read(find_checkpoint(folder, NAME, epoch))
    for part in (run.slow, run.fast):
        checkpoint.check_size([*part.sizes.values()], part.nmul)
    slow_statistics, fast_statistics, routing = run.statistics(folder / FILE)
    in_proj = "nn_model.lstm_mlp.in_proj.weight" in checkpoint.weights
    transfer = "nn_model.h_transfer.weight" in checkpoint.weights
    weights = checkpoint.take(_shapes(run, in_proj, transfer))
    # The two see some attributes by different statistics; what only one sees is added.
    shown = {**(routing if run.routing else {}), **fast_statistics}
    model = _build(run, slow_statistics, shown, transfer)
    model.load_state_dict(_converted(run, weights, shown, routing))
    return Bundle(
        model.eval(),
        name or NAME.lower(),
        f"LSTMs and MLPs + Hbv_2, then {run.fast.name}: spun up by {run.days} days, imported from dhbv2",
        {
            "imported_from": f"dhbv2 model {NAME} with StackLstmMlpModel",
            "checkpoint": checkpoint.path.name,
            "checkpoint_sha256": checkpoint.digest,
            "normalisation": "that of dhbv2: mean and standard deviation as stored, plus 1e-6",
            "freezing": "none is needed: static parameters come from attributes alone",
            "routing": "by the hydrographs to a gauge"
            if run.routing
            else "none, as in dhbv2's component; model.phy.hif_model.routing: true keeps the hydrographs",
        },
    )


def _build(
    run: PairRun,
    slow_statistics: Mapping[str, FeatureStatistics],
    fast_statistics: Mapping[str, FeatureStatistics],
    transfer: bool,
) -> SpinUpModel:
    """Build the model, its weights yet to be loaded."""

    def lstm(part: Part) -> tuple[dict[str, Any], ParameterRole]:
        role = ParameterRole(part.inputs, part.attributes, part.dynamic, (), network="lstm")
        return {"name": "cuda_lstm", "hidden_size": part.sizes["lstm"]}, role

    def mlp(size: int) -> dict[str, Any]:
        return {"name": "mlp", "hidden_sizes": [size] * LAYERS}

    shared = ParameterRole((), run.slow.attributes, static=run.slow.static, network="static")
    own = run.fast.static[len(run.slow.static) :]
    slow_lstm, slow_role = lstm(run.slow)
    slow = DeltaModel.build(
        nn={"lstm": slow_lstm, "static": mlp(run.slow.sizes["mlp"])},
        phy_model={"name": run.slow.name, "nmul": run.slow.nmul},
        roles=[slow_role, shared],
        statistics=slow_statistics,
        step=DAY,
    )
    fast_lstm, fast_role = lstm(run.fast)
    networks = {"lstm": fast_lstm, "static": mlp(run.slow.sizes["mlp"])}
    roles = [fast_role, shared]
    equations: dict[str, Any] = {"name": run.fast.name, "nmul": run.fast.nmul}
    if run.routing:
        equations["routing"] = ROUTING_LENGTH
        networks["routing"] = mlp(run.fast.sizes["mlp2"])
        roles.append(ParameterRole((), run.routing_attributes, static=ROUTING, network="routing"))
    if own:
        networks["hourly"] = mlp(run.fast.sizes["mlp"])
        roles.append(ParameterRole((), run.fast.attributes, static=own, network="hourly"))
    fast = DeltaModel.build(
        nn=networks,
        phy_model=equations,
        roles=roles,
        statistics=fast_statistics,
        step=HOUR,
    )
    pair = ModelPair(slow, fast, ("static",), {"lstm": "lstm"} if transfer else {})
    return SpinUpModel(pair, run.days)


def _shapes(run: PairRun, in_proj: bool, transfer: bool) -> dict[str, Sequence[int]]:
    """Return names and shapes of all weights of their model."""
    shapes: dict[str, Sequence[int]] = {}
    parts = (
        ("nn_model.lstm_mlp.", run.slow, {"ann": (run.slow.sizes["mlp"], run.slow.attributes, 0)}),
        ("nn_model.lstm_mlp2.", run.fast, {
            "ann1": (run.fast.sizes["mlp"], run.fast.attributes, 0),
            "ann2": (run.fast.sizes["mlp2"], run.routing_attributes, len(ROUTING)),
        }),
    )  # fmt: skip
    for prefix, part, mlps in parts:
        hidden, n = part.sizes["lstm"], len(part.inputs) + len(part.attributes)
        if in_proj:
            shapes |= {f"{prefix}in_proj.weight": (hidden, n), f"{prefix}in_proj.bias": (hidden,)}
        lstm = {
            "lstm_inv.weight_ih_l0": (4 * hidden, hidden if in_proj else n),
            "lstm_inv.weight_hh_l0": (4 * hidden, hidden),
            "lstm_inv.bias_ih_l0": (4 * hidden,),
            "lstm_inv.bias_hh_l0": (4 * hidden,),
            "linear_out.weight": (len(part.dynamic) * part.nmul, hidden),
            "linear_out.bias": (len(part.dynamic) * part.nmul,),
        }
        shapes |= {prefix + name: shape for name, shape in lstm.items()}
        for mlp, (size, attributes, count) in mlps.items():
            widths = (len(attributes), *[size] * LAYERS, count or len(part.static) * part.nmul)
            for k, (before, after) in enumerate(pairwise(widths)):
                shapes |= {
                    f"{prefix}{mlp}.{3 * k}.weight": (after, before),
                    f"{prefix}{mlp}.{3 * k}.bias": (after,),
                }
    for name in ("h_transfer", "c_transfer") if transfer else ():
        sizes = run.fast.sizes["lstm"], run.slow.sizes["lstm"]
        shapes |= {f"nn_model.{name}.weight": sizes, f"nn_model.{name}.bias": sizes[:1]}
    return shapes


def _converted(
    run: PairRun,
    theirs: Weights,
    shown: Mapping[str, FeatureStatistics],
    routing: Mapping[str, FeatureStatistics],
) -> dict[str, Tensor]:
    """Convert their weights to ours."""
    ours = _lstm(theirs, "nn_model.lstm_mlp.", "slow_nn.lstm.")
    ours |= _lstm(theirs, "nn_model.lstm_mlp2.", "nn.lstm.")
    ours |= _mlp(theirs, "nn_model.lstm_mlp.ann.", "nn.static.layers.")
    if len(run.fast.static) > len(run.slow.static):
        own = _mlp(theirs, "nn_model.lstm_mlp2.ann1.", "nn.hourly.layers.")
        shared = len(run.slow.static) * run.slow.nmul
        ours |= {k: v[shared:] if f".{3 * LAYERS}." in k else v for k, v in own.items()}
    if run.routing:
        ours |= _hydrographs(run.routing_attributes, theirs, shown, routing)
    for state, name in (("h", "h_transfer"), ("c", "c_transfer")):
        if f"nn_model.{name}.weight" in theirs:
            ours |= {f"memory.lstm-{state}.{p}": theirs[f"nn_model.{name}.{p}"] for p in ("weight", "bias")}
    return ours


def _hydrographs(
    names: Sequence[str],
    theirs: Weights,
    shown: Mapping[str, FeatureStatistics],
    routing: Mapping[str, FeatureStatistics],
) -> dict[str, Tensor]:
    """Convert the network of the hydrographs, whose attributes are shown here by other statistics."""
    ours = _mlp(theirs, "nn_model.lstm_mlp2.ann2.", "nn.routing.layers.")
    first = "nn.routing.layers.0."
    weight, bias = (ours[first + part].double() for part in ("weight", "bias"))
    scale, shift = (
        torch.tensor(values, dtype=torch.float64)
        for values in (
            [shown[n].std / routing[n].std for n in names],
            [(shown[n].mean - routing[n].mean) / routing[n].std for n in names],
        )
    )
    ours[first + "weight"], ours[first + "bias"] = (weight * scale).float(), (bias + weight @ shift).float()
    return ours


def _lstm(theirs: Weights, prefix: str, ours: str) -> dict[str, Tensor]:
    """Convert an LSTM; the linear layer before it, without activation, becomes part of its input weights."""
    weight, bias = (theirs[f"{prefix}lstm_inv.{name}_ih_l0"] for name in ("weight", "bias"))
    if f"{prefix}in_proj.weight" in theirs:
        w_in, b_in = (theirs[f"{prefix}in_proj.{part}"].double() for part in ("weight", "bias"))
        weight, bias = (weight.double() @ w_in).float(), (bias + weight.double() @ b_in).float()
    return {
        f"{ours}lstm.weight_ih_l0": weight,
        f"{ours}lstm.bias_ih_l0": bias,
        **{f"{ours}lstm.{name}": theirs[f"{prefix}lstm_inv.{name}"] for name in GATES},
        **{f"{ours}head_layer.linear.{p}": theirs[f"{prefix}linear_out.{p}"] for p in ("weight", "bias")},
    }


def _mlp(theirs: Weights, prefix: str, ours: str) -> dict[str, Tensor]:
    return {
        ours + name.removeprefix(prefix): weight for name, weight in theirs.items() if name.startswith(prefix)
    }


def is_pair(top: Section) -> bool:
    """Tell whether a configuration is one of the multi-timescale model."""
    try:
        return top.section("model").section("phy").names("name") == (NAME,)
    except ImportDmgError:
        return False
