"""A state file to start from, made outside of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..model.bundle import BundleInfo
from . import state_codec
from .component import Component
from .config import Restart, RunConfig


def write_initial_state(config: RunConfig, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a state, or some tensors of one, as a file valid at the start of a run.

    Parameters
    ----------
    config : RunConfig
        Of the run, which then names the file under ``restart: {read: ...}``.
    state : mapping of name to Tensor
        Rows in the order of its catchments; what is left out is as at any start.
    path : path
    """
    component = Component(BundleInfo.read(config.bundle), replace(config, restart=Restart(), ensemble=None))
    try:
        component.group.set_state(component, dict(state))
        state_codec.write(Path(path), component.save())
    finally:
        component.close()
