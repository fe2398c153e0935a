"""Synthetic basins as training data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ...arrays import DAY
from ...errors import ConfigError, alternatives
from ...io.timeseries import COORDINATES, BasinDataset
from ...synthetic.basins import generate
from .base import DataConfig


@dataclass(frozen=True, kw_only=True)
class SyntheticData(DataConfig):
    """Synthetic basins; see :func:`dmg_bmi.synthetic.basins.generate`.

    Parameters
    ----------
    basins, years : int
        How many.
    step : float
        Seconds.
    start : date
        The first day.
    attributes : sequence of str
        Those that networks see.
    noise : float
        Standard deviation of the logarithm of the error of observed flow.
    seed : int
        Of the basins, their weather and the noise.
    """

    reader: str = "synthetic"
    basins: int = 12
    years: int = 8
    step: float = DAY
    start: datetime = datetime(2000, 10, 1)
    attributes: tuple[str, ...] = ("elev_mean", "area", "aridity", "frac_snow", "frac_forest", "clay_frac")
    noise: float = 0.05
    seed: int = 0

    def read(self) -> BasinDataset:
        """Generate the basins, with the attributes that are named."""
        basins = generate(
            self.basins,
            self.years,
            step=self.step,
            start=f"{self.start:%Y-%m-%d}",
            noise=self.noise,
            seed=self.seed,
        )
        absent = [name for name in self.attributes if name not in basins.attributes]
        if absent:
            what = alternatives(absent[0], basins.attributes)
            raise ConfigError(f"data.attributes: synthetic basins have no {', '.join(absent)}; {what}")
        names = {*self.attributes, *COORDINATES}
        return replace(basins, attributes={n: v for n, v in basins.attributes.items() if n in names})
