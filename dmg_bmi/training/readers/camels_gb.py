"""CAMELS-GB (Coxon et al., 2020, https://doi.org/10.5194/essd-12-2459-2020) from its CSV files.

A file per basin, ``CAMELS_GB_hydromet_timeseries_<id>_<first day>-<last day>.csv``, and tables
``CAMELS_GB_*_attributes.csv``, anywhere below one folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .base import FileData
from .daily_tables import CLIMATE, Place, by_id, daily_source, find_files, selected
from .loading import Source

WHAT = "CAMELS-GB"
PREFIX = "CAMELS_GB_hydromet_timeseries_"
LAND = (
    "dwood_perc",
    "ewood_perc",
    "grass_perc",
    "crop_perc",
    "urban_perc",
    "sand_perc",
    "silt_perc",
    "clay_perc",
)
ATTRIBUTES = (*CLIMATE, "area", "elev_mean", "dpsbar", *LAND)


@dataclass(frozen=True, kw_only=True)
class CamelsGbData(FileData):
    """Basins of CAMELS-GB.

    Parameters
    ----------
    path : path
        Folder with the files, in folders in it or not.
    basins : sequence of str, or path, optional
        Ids of the National River Flow Archive, such as ``10002``; all that have a file by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table.
    pet : {"pet", "peti"}
        CHESS-PE without or with interception.
    """

    reader: str = "camels_gb"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES
    pet: Literal["pet", "peti"] = "pet"

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        files = by_id(find_files(self.path, f"{PREFIX}*.csv", WHAT), PREFIX)
        columns = {
            "P": ("precipitation",),
            "T": ("temperature",),
            "PET": (self.pet,),
            "Q": ("discharge_spec",),
        }
        places = {
            basin: {name: [Place(files[basin], some)] for name, some in columns.items()}
            for basin in selected(self.path, basins, files)
        }
        tables = find_files(self.path, "CAMELS_GB_*_attributes.csv", WHAT)
        return daily_source(self.reader, places, tables, self.attributes, {"pet": self.pet})
