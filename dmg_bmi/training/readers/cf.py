"""The NetCDF layout of :mod:`dmg_bmi.io.netcdf` as training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import AttributeTableError, ConfigError, ForcingError, alternatives
from ...io.csv_table import CsvTable
from ...io.netcdf import STANDARD, Reader, standard_units, to_standard
from ...io.timeseries import COORDINATES, Series
from .attributes import Names, as_mapping, attribute_table, static
from .base import FileData
from .loading import Chunk, Source, without_fills


@dataclass(frozen=True, kw_only=True)
class NetcdfData(FileData):
    """Basins of one NetCDF file.

    Parameters
    ----------
    path : path
        A file such as the ``forcing.nc`` of a run folder (see :mod:`dmg_bmi.io.netcdf`).
    attributes : sequence of str, or mapping of str to str, optional
        All of the file, or of the table, by default. Coordinates come along for maps.
    table : path, optional
        CSV file of attributes, ids in its first column, in place of those in the file.
    """

    reader: str = "netcdf"
    table: Path | None = None

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the series and attributes; see :func:`cf`."""
        return cf(self.path, basins, self.attributes, table=self.table)


def cf(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names | None = None,
    *,
    table: str | Path | None = None,
) -> Source:
    """Find forcing, observations and attributes; parameters are those of :class:`NetcdfData`.

    Returns
    -------
    Source
        In the units of :data:`~dmg_bmi.io.netcdf.STANDARD`, whatever those of the file.

    Raises
    ------
    ConfigError
        If a basin or an attribute does not exist, or units measure something else.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    path = Path(path)
    with Reader(path) as file:
        ids = file.ids if basins is None else tuple(basins)
        known = {*file.ids}
        unknown = [name for name in ids if name not in known]
        if unknown:
            raise ConfigError(f"{path}: no basin {unknown[0]}; {alternatives(unknown[0], file.ids)}")
        if table is None:
            arrays, attribute_units = _attributes(file, ids, attributes)
        else:
            ids, arrays, attribute_units = _table_attributes(Path(table), ids, attributes)
        scales = _scales(file)
        column = {name: k for k, name in enumerate(file.ids)}
        return Source(
            ids=ids,
            times=file.times,
            step=file.step,
            attributes=arrays,
            units={**{n: standard_units(n, file.units[n]) for n in scales}, **attribute_units},
            forcings=tuple(file.forcings),
            targets=tuple(file.targets),
            chunks=partial(_chunks, path, [column[name] for name in ids], scales),
            files=(path,),
            options={"reader": "netcdf"},
        )


def _attributes(file: Reader, ids: Sequence[str], attributes: Names | None) -> tuple[Series, dict[str, str]]:
    """Return attributes and coordinates of the file, ``[basins]``, and their units."""
    column = as_mapping(file.attributes if attributes is None else attributes)
    absent = [name for name in column.values() if name not in file.attributes]
    if absent:
        what = alternatives(absent[0], file.attributes)
        raise ConfigError(f"{file.path}: no attribute {', '.join(absent)}; {what}")
    column |= {name: name for name in COORDINATES if name in file.attributes}
    place = {name: k for k, name in enumerate(file.ids)}
    rows = [place[name] for name in ids]
    return (
        {name: file.attribute(source)[rows] for name, source in column.items()},
        {name: file.units[source] for name, source in column.items()},
    )


def _table_attributes(
    table: Path, ids: Sequence[str], attributes: Names | None
) -> tuple[tuple[str, ...], Series, dict[str, str]]:
    """Return the basins that have all attributes in a CSV file, these, ``[basins]``, and their units."""
    _, *columns = CsvTable.read(table, AttributeTableError).columns
    names = columns if attributes is None else attributes
    rows = attribute_table([table], ids, names)
    return (tuple(rows), *static(rows, names, {}))


def _scales(file: Reader) -> dict[str, tuple[float, float]]:
    """Return the factor and offset that bring each series to standard units."""
    scales = {}
    for name in (*file.forcings, *file.targets):
        if name in STANDARD and not file.units[name].strip():
            raise ForcingError(f"{file.path}: {name} has no units; write them, such as {STANDARD[name][0]}")
        try:
            scales[name] = to_standard(name, file.units[name], file.step)
        except ConfigError as error:
            raise ForcingError(f"{file.path}: {name}: {error}") from error
    return scales


def _chunks(path: Path, columns: list[int], scales: Mapping[str, tuple[float, float]]) -> Iterator[Chunk]:
    """Read the series of all basins, some steps at a time."""
    with Reader(path) as file:
        length = max(1, 2**22 // len(file.ids))
        for first in range(0, len(file.times), length):
            steps = slice(first, min(first + length, len(file.times)))
            values = {}
            for name, (scale, offset) in scales.items():
                series = without_fills(file.series(name, steps)[:, columns].T, f"{path}: {name}")
                values[name] = series * scale + offset
            yield Chunk(slice(0, len(columns)), steps, values)
