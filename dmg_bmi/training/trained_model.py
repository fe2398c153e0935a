"""The model of a training that goes on from a trained one: which of its networks learn, and in what range."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ConfigError, alternatives
from ..model.bundle import Bundle
from ..model.delta_model import DeltaModel
from ..model.normalisation import FeatureStatistics
from .ensemble import MEAN

log = logging.getLogger("dmg_bmi")


def begin_from(
    path: Path, learns: Sequence[str], step: float, seen: Mapping[str, FeatureStatistics]
) -> DeltaModel:
    """Load a model to train further.

    Its networks see data normalised as before. The range of its attributes, against which catchments are
    checked, takes in that of the new basins.

    Parameters
    ----------
    path : path
        A bundle: its folder, that of a training, or a shipped name.
    learns : sequence of str
        Networks whose weights change, by name or pattern (``*_static``); all without any.
    step : float
        Seconds of a step of the data.
    seen : mapping of name to FeatureStatistics
        Statistics of the new training basins; only their limits count.

    Raises
    ------
    BundleError
        If the bundle cannot be read.
    ConfigError
        If its steps are others than the data's, or it has no network of such a name.
    """
    trained = Bundle.load(path).model
    if type(trained) is not DeltaModel:
        raise ConfigError(f"{path}: models of several time scales cannot be trained further; take another")
    if trained.step != step:
        raise ConfigError(f"{path}: has steps of {trained.step:g} s, the data of {step:g} s; take other data")
    statistics = {name: _widened(s, seen.get(name)) for name, s in trained.statistics.items()}
    model = DeltaModel.build(**{**trained.describe(), "statistics": statistics})
    dtype = next((weight.dtype for weight in trained.parameters()), None)
    model.to(dtype).load_state_dict(trained.state_dict())
    networks = [key for key in model.networks if key != MEAN]
    for pattern in learns:
        if not any(fnmatchcase(key, pattern) for key in networks):
            raise ConfigError(f"model.learns: no network {pattern!r}; {alternatives(pattern, networks)}")
    learning = [key for key in networks if not learns or any(fnmatchcase(key, p) for p in learns)]
    for key, network in model.networks.items():
        network.requires_grad_(key in learning)
    log.info("begins from %s; networks that learn: %s", path, ", ".join(learning))
    return model


def _widened(known: FeatureStatistics, seen: FeatureStatistics | None) -> FeatureStatistics:
    """Return the statistics with limits that take in others."""
    if seen is None:
        return known
    return replace(known, lower=min(known.lower, seen.lower), upper=max(known.upper, seen.upper))
