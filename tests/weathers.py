"""Weather and attributes of synthetic catchments without their runoff, which takes long by the hour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.synthetic.basins import ATTRIBUTES, FORCINGS, climate


def weather(ids: Sequence[str], steps: int, step: float) -> BasinDataset:
    """Return so many steps from October 2000; of few without rain, aridity and the like are not finite."""
    times = np.datetime64("2000-10-01", "s") + np.arange(steps) * np.timedelta64(round(step), "s")
    attributes, forcing = climate(np.random.default_rng(3), times, step, len(ids))
    return BasinDataset(tuple(ids), times, step, forcing, attributes, {}, {**FORCINGS, **ATTRIBUTES})
