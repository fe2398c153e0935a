"""The NetCDF layout of :mod:`dmg_bmi.io.netcdf` as training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import AttributeTableError, ConfigError, ForcingError, alternatives
from ...io.csv_table import CsvTable
from ...io.netcdf import Reader, standard_units, to_standard
from ...io.timeseries import COORDINATES, Series
from .attributes import Names, as_mapping, attribute_table, static
from .loading import Chunk, Source, without_fills


def cf(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names | None = None,
    *,
    table: str | Path | None = None,
) -> Source:
    """Find forcing, observations and attributes.

    Parameters
    ----------
    path : path
        A file such as the ``forcing.nc`` of a training's folder (see :mod:`dmg_bmi.io.netcdf`).
    basins : sequence of str, optional
        All of the file by default.
    attributes : sequence of str, optional
        All of the file, or of the table, by default. Coordinates come along for maps.
    table : path, optional
        CSV file of attributes, ids in its first column, in place of those in the file.

    Returns
    -------
    Source
        In the units of :data:`~dmg_bmi.io.netcdf.STANDARD`, whatever those of the file.

    Raises
    ------
    ConfigError
        If a basin or an attribute is not there, or units measure something else.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    path = Path(path)
    with Reader(path) as file:
        ids = file.ids if basins is None else tuple(basins)
        unknown = [name for name in ids if name not in file.ids]
        if unknown:
            raise ConfigError(f"{path}: no basin {unknown[0]}; {alternatives(unknown[0], file.ids)}")
        if table is None:
            column = as_mapping(file.attributes if attributes is None else attributes)
            lacking = [name for name in column.values() if name not in file.attributes]
            if lacking:
                what = alternatives(lacking[0], file.attributes)
                raise ConfigError(f"{path}: no attribute {', '.join(lacking)}; {what}")
            kept = column | {name: name for name in COORDINATES if name in file.attributes}
            of_file = {name: k for k, name in enumerate(file.ids)}
            place = [of_file[name] for name in ids]
            arrays: Series = {name: file.attribute(of)[place] for name, of in kept.items()}
            known = {name: file.units[of] for name, of in kept.items()}
        else:
            _, *every = CsvTable.read(Path(table), AttributeTableError).columns
            names = every if attributes is None else attributes
            rows = attribute_table([Path(table)], ids, names)
            ids = tuple(rows)
            arrays, known = static(rows, names, {})
        series = (*file.forcings, *file.targets)
        scales = {}
        for name in series:
            try:
                scales[name] = to_standard(name, file.units[name], file.step)
            except ConfigError as error:
                raise ForcingError(f"{path}: {name}: {error}") from error
        of_file = {name: k for k, name in enumerate(file.ids)}
        columns = [of_file[name] for name in ids]

    def pieces() -> Iterator[Chunk]:
        every, length = slice(0, len(ids)), max(1, 2**22 // len(file.ids))
        with Reader(path) as again:
            for first in range(0, len(file.times), length):
                steps = slice(first, min(first + length, len(file.times)))
                values = {}
                for name, (scale, offset) in scales.items():
                    given = without_fills(again.series(name, steps)[:, columns].T, f"{path}: {name}")
                    values[name] = given * scale + offset
                yield Chunk(every, steps, values)

    return Source(
        ids=ids,
        times=file.times,
        step=file.step,
        attributes=arrays,
        units={**{n: standard_units(n, file.units[n]) for n in series}, **known},
        forcings=tuple(file.forcings),
        targets=tuple(file.targets),
        pieces=pieces,
        files=(path,),
        options={"reader": "netcdf"},
    )
