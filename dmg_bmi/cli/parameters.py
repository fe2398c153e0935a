"""Write the parameters that a bundle gives any catchments: values, bounds, and the spread of its members.

One line for each catchment, process model and parameter. A value is the mean over members of an ensemble,
parallel components and, where a parameter changes in time, the steps of the forcing; the standard
deviations over each of these stand beside it. Forcing is needed where a network sees the weather.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, ForcingError
from .options import BUNDLE

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.bundle import BundleInfo
    from ..model.delta_model import DeltaModel

HEADER = (
    "catchment",
    "model",
    "parameter",
    "value",
    "std_members",
    "std_components",
    "std_time",
    "lower",
    "upper",
    "units",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi parameters``."""
    parser.add_argument("bundle", help=BUNDLE)
    parser.add_argument(
        "--attributes", type=Path, required=True, metavar="CSV", help="attributes, ids in its first column"
    )
    parser.add_argument(
        "--forcing", type=Path, help="NetCDF file or folder of CSV files, as for `dmg-bmi run`, if needed"
    )
    parser.add_argument("--start", help="first day of the forcing (default: the file's)")
    parser.add_argument("--end", help="last day of the forcing (default: the file's)")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="table to write")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi parameters``."""
    count = write_parameters(
        arguments.bundle,
        arguments.attributes,
        arguments.output,
        arguments.forcing,
        arguments.start,
        arguments.end,
    )
    print(f"{arguments.output}: {count} lines")


def write_parameters(
    bundle: str,
    table: Path,
    output: Path,
    forcing_path: Path | None = None,
    start: str | None = None,
    end: str | None = None,
) -> int:
    """Write the table, and return its number of lines.

    Raises
    ------
    DmgBmiError
        If an input is wrong or absent; then no file is written.
    """
    import torch

    from ..io.csv_table import write_csv
    from ..model.bundle import BundleInfo
    from ..model.training_range import check_trained
    from ..runtime.catchments import Catchments, CatchmentTable, check_attribute

    info, model = BundleInfo.read(bundle).load()
    used = [v for v in info.variables if v.kind == "attribute"]
    catchments = CatchmentTable.load(Catchments(file=table), [v.name for v in used])
    ids = catchments.ids
    values = {v.symbol: catchments.attributes[v.name] for v in used}
    for v in used:
        check_attribute(v.name, values[v.symbol], ids, v.lower, v.upper)
    check_trained(model.statistics, values, ids, set())
    forcing = _forcing(info, model, ids, forcing_path, start, end)
    attributes = {name: torch.from_numpy(column) for name, column in values.items()}
    with torch.inference_mode():
        parameters = model.row_parameters(forcing, attributes)
    if not parameters:
        raise ConfigError(f"{info.path}: has no parameters that differ between catchments")
    rows = [
        [basin, *cells]
        for k, basin in enumerate(ids)
        for cells in _lines(model, _of_row(model, parameters, k))
    ]
    write_csv(output, HEADER, rows)
    return len(rows)


def _forcing(
    info: BundleInfo,
    model: DeltaModel,
    ids: tuple[str, ...],
    path: Path | None,
    start: str | None,
    end: str | None,
) -> dict[str, Tensor]:
    """Return the inputs of the networks; zeros in place of others, on which no parameter depends."""
    import torch

    from ..model.roles import ParameterRole
    from ..runtime.forcing import series

    seen = {n for role in model.roles if isinstance(role, ParameterRole) for n in role.inputs}
    none = dict.fromkeys(model.forcing_names, torch.zeros(1, len(ids), dtype=torch.float64))
    if not seen:
        return none
    if path is None:
        raise ConfigError(f"{info.path}: its parameters depend on {', '.join(sorted(seen))}; give --forcing")
    data = series.window(series.read(path), start, end)
    if data.step != model.step:
        raise ForcingError(f"{path}: steps by {data.step:g} s, the model by {model.step:g} s")
    inputs = series.model_inputs(data, [v for v in info.variables if v.symbol in seen], ids, str(path))
    length = len(data.times)
    return {name: zeros.expand(length, -1) for name, zeros in none.items()} | inputs


def _of_row(model: DeltaModel, parameters: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    """Return the parameters of a row by ``key.name``, each ``[time, components]``."""
    shown = {}
    for name, tensor in parameters.items():
        key, _, symbol = name.partition(".")
        shape = model.process_models[key].declaration.parameter(symbol).shape
        changing = tensor.dim() > 1 + len(shape)
        shown[name] = (tensor[:, row] if changing else tensor[row]).reshape(
            len(tensor) if changing else 1, -1
        )
    return shown


def _lines(model: DeltaModel, parameters: Mapping[str, Tensor]) -> Iterator[list[str]]:
    """Yield the cells of each parameter of a row, members with the same equations together."""
    import torch

    members: dict[tuple[str, str], list[Tensor]] = {}
    declared = {}
    for name, values in parameters.items():
        key, _, symbol = name.partition(".")
        declaration = model.process_models[key].declaration
        members.setdefault((declaration.name, symbol), []).append(values)
        declared[declaration.name, symbol] = declaration.parameter(symbol)
    for (equations, symbol), same in members.items():
        mean = torch.stack([values.mean() for values in same])
        components = torch.stack([values.mean(0) for values in same])
        steps = torch.stack([values.mean(1) for values in same if len(values) > 1] or [torch.zeros(1)])
        spreads = [_std(mean), _std(components), _std(steps)]
        p = declared[equations, symbol]
        yield [equations, symbol, f"{mean.mean():.6g}", *spreads, f"{p.lower:g}", f"{p.upper:g}", p.units]


def _std(values: Tensor) -> str:
    """Return the standard deviation along the last axis, the mean of all; empty of a single value."""
    return f"{values.std(-1, correction=0).mean():.6g}" if values.shape[-1] > 1 else ""
