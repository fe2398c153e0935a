"""CAMELS-BR (Chagas et al., 2020, https://doi.org/10.5194/essd-12-2075-2020) from its text files.

A folder per variable, such as ``05_CAMELS_BR_precipitation_chirps``, with a file per basin, and
``01_CAMELS_BR_attributes`` with tables ``camels_br_*.txt``; cells are separated by a blank. The numbers that
the folders begin with differ between releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ...errors import AttributeTableError, ConfigError
from ...io.csv_table import CsvTable
from .base import FileData
from .daily_tables import CLIMATE, Place, by_id, daily_source, find_files, selected
from .loading import Source

WHAT = "CAMELS-BR"
ATTRIBUTES = (*CLIMATE, "area", "elev_mean", "slope_mean")


@dataclass(frozen=True, kw_only=True)
class CamelsBrData(FileData):
    """Basins of CAMELS-BR, with the potential evaporation of GLEAM and the temperature of CPC.

    Parameters
    ----------
    path : path
        Folder that holds the folders of the variables.
    basins : sequence of str, or path, optional
        Such as ``10500000``; all that have a file of flow by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table.
    precipitation : {"chirps", "mswep", "cpc"}
        Product that precipitation is taken from.
    """

    reader: str = "camels_br"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES
    precipitation: Literal["chirps", "mswep", "cpc"] = "chirps"

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        columns = {
            "P": f"precipitation_{self.precipitation}",
            "T": "temperature_mean_cpc",
            "PET": "potential_evapotransp_gleam",
            "Q": "streamflow_mm",
        }
        files = {name: _files(self.path, column) for name, column in columns.items()}
        places = {}
        for basin in selected(self.path, basins, files["Q"]):
            for name, of in files.items():
                if basin not in of:
                    raise ConfigError(
                        f"{self.path}: no {columns[name]} of basin {basin!r}; leave it out of data.basins"
                    )
            places[basin] = {name: [Place(of[basin], (columns[name],))] for name, of in files.items()}
        return daily_source(
            self.reader,
            places,
            find_files(self.path, "camels_br_*.txt", WHAT),
            self.attributes,
            {"precipitation": self.precipitation},
            " ",
            partial(CsvTable.read, error=AttributeTableError, delimiter=" "),
        )


def _files(root: Path, variable: str) -> dict[str, Path]:
    """Return gauge id to file of a variable."""
    return by_id(find_files(root, f"*CAMELS_BR_{variable}*/[0-9]*_*.txt", WHAT))
