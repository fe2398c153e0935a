"""CAMELS-CH (Hoege et al., 2023, https://doi.org/10.5194/essd-15-5755-2023) from its CSV files.

A file per basin, ``CAMELS_CH_obs_based_<id>.csv``, another with simulations,
``CAMELS_CH_sim_based_<id>.csv``, which has the potential evaporation, and tables
``CAMELS_CH_*_attributes*.csv``, which begin with a comment; some are in Latin-1. Cells are separated by
commas or, in other releases, by semicolons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import AttributeTableError, ConfigError
from ...io.csv_table import CsvTable
from ...io.files import read_bytes
from .base import FileData
from .daily_tables import CLIMATE, Place, by_id, daily_source, find_files, header, selected
from .loading import Source

WHAT = "CAMELS-CH"
OBSERVED, SIMULATED = "CAMELS_CH_obs_based_", "CAMELS_CH_sim_based_"
ATTRIBUTES = (*CLIMATE, "area", "elev_mean")
#: Tables that repeat columns of others, from simulations.
REPEATED = "_sim.csv"


@dataclass(frozen=True, kw_only=True)
class CamelsChData(FileData):
    """Basins of CAMELS-CH, with the potential evaporation of PREVAH.

    Parameters
    ----------
    path : path
        Folder with the files, in folders in it or not.
    basins : sequence of str, or path, optional
        Such as ``2004``; all that have a file by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table but those from simulations.
    """

    reader: str = "camels_ch"
    attributes: tuple[str, ...] | dict[str, str] = ATTRIBUTES

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`~dmg_bmi.training.readers.daily_tables.daily_source`."""
        observed = by_id(find_files(self.path, f"{OBSERVED}*.csv", WHAT), OBSERVED)
        simulated = by_id(find_files(self.path, f"{SIMULATED}*.csv", f"{WHAT} (simulation_based)"), SIMULATED)
        places = {}
        for basin in selected(self.path, basins, observed):
            if basin not in simulated:
                raise ConfigError(f"{self.path}: has no {SIMULATED}{basin}.csv, which has its pet_sim(mm/d)")
            places[basin] = {
                "P": [Place(observed[basin], ("precipitation(mm/d)",))],
                "T": [
                    Place(observed[basin], ("temperature_mean(degC)", "temperature_mean(\N{DEGREE SIGN}C)"))
                ],
                "PET": [Place(simulated[basin], ("pet_sim(mm/d)",))],
                "Q": [Place(observed[basin], ("discharge_spec(mm/d)",))],
            }
        tables = find_files(self.path, "CAMELS_CH_*_attributes*.csv", WHAT)
        delimiter = ";" if len(header(next(iter(observed.values())), ";")) > 1 else ","
        return daily_source(
            self.reader,
            places,
            [file for file in tables if not file.name.endswith(REPEATED)],
            self.attributes,
            {},
            delimiter,
            _read_table,
        )


def _read_table(path: Path) -> CsvTable:
    """Read a table of attributes, whatever its encoding and delimiter."""
    content = read_bytes(path, AttributeTableError)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    header = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
    return CsvTable.parse(text, path, AttributeTableError, ";" if ";" in header else ",")
