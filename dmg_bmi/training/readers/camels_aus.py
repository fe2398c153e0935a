"""CAMELS-AUS (Fowler et al., 2021, 2025, https://doi.org/10.5194/essd-13-3847-2021) from its CSV files.

A table per variable with a column for each basin, such as ``precipitation_AWAP.csv``, and the master table of
attributes, anywhere below one folder; the first version and the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .base import FileData
from .daily_tables import CLIMATE, PARTS, Place, daily_source, find_file, header, selected
from .loading import Source

WHAT = "CAMELS-AUS"
MASTER = ("CAMELS_AUS_Attributes*MasterTable.csv", "CAMELS_AUS_v2_Attributes*MasterTable.csv")
ATTRIBUTES = (*CLIMATE, "catchment_area", "elev_mean")


@dataclass(frozen=True, kw_only=True)
class CamelsAusData(FileData):
    """Basins of CAMELS-AUS; temperature is the mean of the day's highest and lowest.

    Parameters
    ----------
    path : path
        Folder with the tables, in folders in it or not.
    basins : sequence of str, or path, optional
        Such as ``912101A``; all that have a column of flow by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of the master table.
    weather : {"SILO", "AWAP"}
        Where precipitation and temperature are from; the second version has AGCD in place of AWAP.
    pet : str
        Table of potential evaporation, of SILO: areal, after Morton, by default.
    """

    reader: str = "camels_aus"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES
    weather: Literal["SILO", "AWAP", "AGCD"] = "SILO"
    pet: str = "et_morton_wet_SILO"

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        names = {
            "P": (f"precipitation_{self.weather}",),
            "T": (f"tmin_{self.weather}", f"tmax_{self.weather}"),
            "PET": (self.pet,),
            "Q": ("streamflow_mmd",),
        }
        files = {
            name: [find_file(self.path, (f"{table}.csv",), WHAT) for table in tables]
            for name, tables in names.items()
        }
        found = dict.fromkeys(name for name in header(files["Q"][0], ",") if name not in PARTS)
        places = {
            basin: {name: [Place(file, (basin,)) for file in some] for name, some in files.items()}
            for basin in selected(self.path, basins, found)
        }
        tables = [find_file(self.path, MASTER, WHAT)]
        options = {"weather": self.weather, "pet": self.pet}
        return daily_source(self.reader, places, tables, self.attributes, options)
