"""Freeze static parameters of a recurrent network at their values at the end of a window.

Otherwise they follow the network for the steps that its role names (`freeze_after`) and are
then held. The window is a file of forcing at the model's step, or a period of it. The result
is a state file, valid at start_time of the configuration, whose static parameters are
held from the first step; name it under `restart: {read: ...}`.

A model of dmg that was trained with `warmup_states: True` also starts from the stores of its warm-up:
with --as-dmg the window is dmg's, warm-up first, and the run starts on the day after the warm-up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, ForcingError
from .options import WHAT

if TYPE_CHECKING:
    from ..io.timeseries import BasinDataset
    from ..runtime.config import RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi freeze``."""
    parser.add_argument("config", type=Path, help=WHAT)
    parser.add_argument(
        "--forcing", type=Path, required=True, help="NetCDF file or folder of CSV files, as for `dmg-bmi run`"
    )
    parser.add_argument("--start", help="first day of the window (default: the file's)")
    parser.add_argument("--end", help="last day of the window (default: the file's)")
    parser.add_argument(
        "--as-dmg",
        type=int,
        metavar="DAYS",
        help="days of warm-up that the window begins with, for a model of dmg with warmup_states: True",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="STATE", help="state file to write")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi freeze``."""
    names = freeze(
        arguments.config,
        arguments.forcing,
        arguments.output,
        arguments.start,
        arguments.end,
        arguments.as_dmg,
    )
    print(f"{arguments.output}: frozen are {', '.join(names) or 'no parameters'}")


def freeze(
    config_path: Path,
    forcing_path: Path,
    output: Path,
    start: str | None = None,
    end: str | None = None,
    warmup: int | None = None,
) -> list[str]:
    """Write the state file, and return the names of the frozen parameters.

    With `warmup` it also holds the stores of :func:`dmg_bmi.interop.dmg.warmed_up`.

    Raises
    ------
    DmgBmiError
        If an input is wrong; then no file is written.
    """
    import torch

    from ..interop.dmg import warmed_up
    from ..model.bundle import BundleInfo
    from ..runtime.catchments import CatchmentTable
    from ..runtime.config import RunConfig
    from ..runtime.forcing import series
    from ..runtime.initial_state import write_initial_state

    config = RunConfig.read(config_path)
    if not config.bundle:
        raise ConfigError(f"{config_path}: missing key 'bundle'; give a folder or a shipped bundle's name")
    info, model = BundleInfo.read(config.bundle).load()
    table = info.variables
    names = [n for role in model.roles if role.inputs for n in getattr(role, "static", None) or ()]
    if not names and warmup is None:
        raise ConfigError(f"{config_path}: {info.name} has no static parameters to freeze")
    window = series.window(series.read(forcing_path), start, end)
    if window.step != model.step:
        raise ForcingError(f"{forcing_path}: steps by {window.step:g} s, the model by {model.step:g} s")
    if warmup is not None:
        _compare_start(config, window, warmup, config_path)
    catchments = CatchmentTable.load(config.catchments, [v.name for v in table if v.kind == "attribute"])
    forcing = series.model_inputs(window, table, catchments.ids, str(forcing_path))
    attributes = {n: torch.from_numpy(v) for n, v in catchments.attributes.items()}
    with torch.inference_mode():
        if warmup is not None:
            held = warmed_up(model, forcing, attributes, warmup)
        else:
            state = model.freeze(forcing, attributes)
            held = {name: tensor for name, tensor in state.items() if name.endswith((".frozen", ".seen"))}
    write_initial_state(config, held, output)
    return names


def _compare_start(config: RunConfig, window: BasinDataset, warmup: int, path: Path) -> None:
    """Refuse a run that does not start where the warm-up ends."""
    import numpy as np

    from ..runtime.config import utc

    if not 0 < warmup < len(window.times):
        raise ConfigError(
            f"--as-dmg: a warm-up of {warmup} days does not lie within a window of {len(window.times)}"
        )
    after = window.times[0] + warmup * np.timedelta64(1, "D")
    start = None if config.start_time is None else np.datetime64(utc(config.start_time).replace(tzinfo=None))
    if start != after:
        raise ConfigError(
            f"{path}: start_time must be {after}, {warmup} days after the window's first; "
            f"it is {'missing' if start is None else start}"
        )
