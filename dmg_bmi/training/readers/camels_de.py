"""CAMELS-DE (Loritz et al., 2024, https://doi.org/10.5194/essd-16-5625-2024) from its CSV files.

A file per basin, ``CAMELS_DE_hydromet_timeseries_<id>.csv``, another with simulations,
``CAMELS_DE_discharge_sim_<id>.csv``, which has the potential evaporation, and tables
``CAMELS_DE_*_attributes.csv``, anywhere below one folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import ConfigError
from .base import FileData
from .daily_tables import CLIMATE, Place, by_id, daily_source, find_files, selected
from .loading import Source

WHAT = "CAMELS-DE"
OBSERVED, SIMULATED = "CAMELS_DE_hydromet_timeseries_", "CAMELS_DE_discharge_sim_"
#: The tables have neither mean potential evaporation nor aridity.
CLIMATE_DE = tuple(name for name in CLIMATE if name not in ("pet_mean", "aridity"))
ATTRIBUTES = (*CLIMATE_DE, "area", "elev_mean")


@dataclass(frozen=True, kw_only=True)
class CamelsDeData(FileData):
    """Basins of CAMELS-DE, with potential evaporation after Hargreaves.

    Parameters
    ----------
    path : path
        Folder with the files, in folders in it or not.
    basins : sequence of str, or path, optional
        Such as ``DE110000``; all that have a file by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table.
    """

    reader: str = "camels_de"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        observed = by_id(find_files(self.path, f"{OBSERVED}*.csv", WHAT), OBSERVED)
        simulated = by_id(
            find_files(self.path, f"{SIMULATED}*.csv", f"{WHAT} (timeseries_simulated)"), SIMULATED
        )
        places = {}
        for basin in selected(self.path, basins, observed):
            if basin not in simulated:
                raise ConfigError(f"{self.path}: has no {SIMULATED}{basin}.csv, which has its pet_hargreaves")
            places[basin] = {
                "P": [Place(observed[basin], ("precipitation_mean",))],
                "T": [Place(observed[basin], ("temperature_mean",))],
                "PET": [Place(simulated[basin], ("pet_hargreaves",))],
                "Q": [Place(observed[basin], ("discharge_spec_obs", "discharge_spec"))],
            }
        tables = find_files(self.path, "CAMELS_DE_*_attributes.csv", WHAT)
        return daily_source(self.reader, places, tables, self.attributes, {})
