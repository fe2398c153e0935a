"""A bundle's networks as plain PyTorch state dicts, and a page that says how to use them."""

from __future__ import annotations

from collections.abc import Collection
from inspect import cleandoc
from io import BytesIO
from pathlib import Path

import torch
import yaml
from torch import nn

from ..errors import ConfigError
from ..io.atomic import create, replacing_folder
from ..model.bundle import Bundle
from ..model.delta_model import DeltaModel
from ..model.normalisation import FeatureStatistics
from ..model.roles import OutputRole
from ..model.spin_up import SpinUpModel

README, DESCRIPTION = "README.md", "model.yaml"
#: Before the names of a slow model's networks, and what maps their memory to that of the fast one.
SLOW, TRANSFER = "slow_", "transfer"


def export_networks(bundle: Bundle, folder: Path) -> None:
    """Write each network's weights, ``<network>.pt``, the model's description and a page on both.

    Parameters
    ----------
    bundle : Bundle
    folder : path
        New or empty.

    Raises
    ------
    ConfigError
        If the model has no network.
    OSError
        If the folder holds other files or cannot be written.
    """
    model = bundle.model
    if not model.networks:
        raise ConfigError(f"{bundle.name}: has no network to export; its parameters are fixed")
    files = {DESCRIPTION: yaml.safe_dump(model.describe(), sort_keys=False, width=110).encode()}
    modules: dict[str, nn.Module] = dict(model.networks)
    if isinstance(model, SpinUpModel):
        modules |= {SLOW + key: network for key, network in model.slow_nn.items()} | {TRANSFER: model.memory}
    for key, network in modules.items():
        content = BytesIO()
        torch.save({name: weight.detach().cpu() for name, weight in network.state_dict().items()}, content)
        files[f"{key}.pt"] = content.getvalue()
    files[README] = readme(bundle).encode()
    with replacing_folder(folder, ()) as workspace:
        for name, content_of in files.items():
            create(workspace / name, content_of)


def readme(bundle: Bundle) -> str:
    """Describe networks, what they are shown and what their outputs are, as Markdown."""
    model = bundle.model
    lines = [
        f"# {bundle.name}",
        "",
        bundle.summary,
        "",
        f"Networks of a model with a step of {model.step:g} s, as plain PyTorch state dicts.",
        f"`{DESCRIPTION}` is the whole description: roles, process models, statistics.",
        "",
        "    weights = torch.load('NETWORK.pt', weights_only=True)",
        "",
        "A network sees its inputs and then its attributes, in this order, each as",
        "`(value - mean) / std`, or zero where std is 0; with `log_sqrt` the value is first",
        "`log10(sqrt(value) + 0.1)`. In evaluation dropout does nothing.",
    ]
    lines += _networks(model)
    if isinstance(model, SpinUpModel):
        lines += [
            "",
            f"# The model of {model.slow.step:g} s that spins it up by {model.steps} steps",
            "",
            f"Its own networks; those shared stand above. `{TRANSFER}.pt` holds, for each memory of a",
            "network above, the linear layer that makes it of the memory of the same network here.",
            *_networks(model.slow, SLOW, {*model.slow_nn}),
        ]
    return "\n".join(lines) + "\n"


def _networks(model: DeltaModel, prefix: str = "", only: Collection[str] | None = None) -> list[str]:
    """Describe the networks of a model, all by default."""
    lines: list[str] = []
    for role in model.roles:
        if only is not None and role.network not in only:
            continue
        outputs = role.bind(model.process_models, model.statistics).explain_outputs()
        network = model.networks[role.network]
        lines += [
            "",
            f"## {prefix}{role.network}.pt: {role.kind}",
            "",
            _paragraph(type(network).__doc__ or ""),
            "",
        ]
        lines += [f"    {line}" for line in str(network).splitlines()]
        lines += ["", "| shown | mean | std | transform | units |", "|---|---|---|---|---|"]
        own = role.statistics if isinstance(role, OutputRole) else {}
        known = {**model.statistics, **own}
        lines += [_row(name, known.get(name)) for name in (*role.inputs, *role.attributes)]
        lines += ["", "| output | what it is |", "|---|---|"]
        lines += [f"| {k} | {what} |" for k, what in enumerate(outputs)]
    return lines


def _paragraph(docstring: str) -> str:
    """Return what a docstring says before its list of parameters."""
    return cleandoc(docstring).partition("\nParameters\n")[0].strip()


def _row(name: str, known: FeatureStatistics | None) -> str:
    statistic = known or FeatureStatistics()
    return f"| {name} | {statistic.mean!r} | {statistic.std!r} | {statistic.transform} | {statistic.units} |"
