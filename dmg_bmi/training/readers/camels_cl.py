"""CAMELS-CL (Alvarez-Garreton et al., 2018, https://doi.org/10.5194/hess-22-5817-2018) from its text files.

A table per variable with a column for each basin, anywhere below one folder: those of January 2022
(``q_mm_day.csv``, ``catchment_attributes.csv``) or of 2018 (``3_CAMELScl_streamflow_mm.txt``,
``1_CAMELScl_attributes.txt``, in which attributes are rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import AttributeTableError
from ...io.csv_table import CsvTable
from .base import FileData
from .daily_tables import DATE, PARTS, Place, daily_source, find_file, header, selected
from .loading import Source

WHAT = "CAMELS-CL"
TABLES = ("catchment_attributes.csv", "1_CAMELScl_attributes.txt")
ATTRIBUTES = (
    "area",
    "elev_mean",
    "slope_mean",
    "p_mean_cr2met",
    "pet_mean",
    "aridity_cr2met",
    "p_seasonality_cr2met",
    "frac_snow_cr2met",
    "high_prec_freq_cr2met",
    "low_prec_freq_cr2met",
)


@dataclass(frozen=True, kw_only=True)
class CamelsClData(FileData):
    """Basins of CAMELS-CL, with the potential evaporation after Hargreaves.

    Parameters
    ----------
    path : path
        Folder with the tables, in folders in it or not.
    basins : sequence of str, or path, optional
        Such as ``1001001``; all that have a column of flow by default.
    attributes : sequence of str, or mapping of str to str
        Numeric attributes of the table.
    precipitation : {"cr2met", "chirps", "mswep", "tmpa"}
        Product that precipitation is taken from.
    """

    reader: str = "camels_cl"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES
    precipitation: Literal["cr2met", "chirps", "mswep", "tmpa"] = "cr2met"

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        rain = self.precipitation
        patterns = {
            "P": (f"precip_{rain}_mm_day.csv", f"precip_{rain}_day.csv", f"*_CAMELScl_precip_{rain}.txt"),
            "T": ("tmean_cr2met_C_day.csv", "tmean_cr2met_day.csv", "*_CAMELScl_tmean_cr2met.txt"),
            "PET": ("pet_hargreaves_mm_day.csv", "pet_hargreaves_day.csv", "*_CAMELScl_pet_hargreaves.txt"),
            "Q": ("q_mm_day.csv", "*_CAMELScl_streamflow_mm.txt"),
        }
        files = {name: find_file(self.path, some, WHAT) for name, some in patterns.items()}
        delimiter = _delimiter(files["Q"])
        names = (name.strip() for name in header(files["Q"], delimiter))
        found = dict.fromkeys(name for name in names if name not in (*DATE, *PARTS))
        places = {
            basin: {name: [Place(file, (basin,))] for name, file in files.items()}
            for basin in selected(self.path, basins, found)
        }
        tables = [find_file(self.path, TABLES, WHAT)]
        options = {"precipitation": rain}
        return daily_source(self.reader, places, tables, self.attributes, options, delimiter, _read_table)


def _delimiter(file: Path) -> str:
    return "\t" if file.suffix == ".txt" else ","


def _read_table(path: Path) -> CsvTable:
    """Read the attributes; those of 2018 stand side by side for all basins, a line for each."""
    table = CsvTable.read(path, AttributeTableError, _delimiter(path))
    if path.suffix != ".txt":
        return table
    key, *basins = table.columns
    names = table.columns[key]
    columns = {key: tuple(basins)} | {
        name: tuple(table.columns[basin][row] for basin in basins) for row, name in enumerate(names)
    }
    return CsvTable(path, columns, tuple(range(1, len(basins) + 1)), AttributeTableError)
