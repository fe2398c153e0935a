"""The plan of a run with `ngen`; the options of ``dmg-bmi nextgen prepare`` are its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import NextGenError
from ...runtime.config import MissingForcing, PetMethod

MissingAttributes = Literal["error", "drop", "neighbours"]


@dataclass(frozen=True)
class Plan:
    """A run of `ngen` that is to be prepared.

    Parameters
    ----------
    bundle : str
        Folder of a bundle or of a training, or name of a shipped one.
    output : Path
        Folder that `ngen` will run in.
    hydrofabric : Path
        GeoPackage (default: that of the run folder).
    start : datetime64
        Start of the run, UTC, such as 2015-12-01.
    end : datetime64
        End of the run, UTC, not included.
    forcing : Path, optional
        Hourly forcing: `ngen`'s NetCDF file, or a folder of CSV files.
    stored_forcing : bool
        Store the forcing for components to read themselves, in place of what `ngen` passes them.
    pet : str, optional
        Compute potential evapotranspiration from the weather.
    table : Path, optional
        Attributes by divide: .csv, .nc or .parquet.
    columns : mapping
        Columns of attributes whose names differ there.
    missing_attributes : {"error", "drop", "neighbours"}
        Where an attribute is missing: report an error, drop the divide, or use its neighbours.
    missing_forcing : {"error", "hold"}
        Where forcing is NaN: report an error, or hold the last value.
    day_start_hour : float
        UTC hour at which a daily model's day begins.
    multi : bool
        Write a bmi_multi of one module.
    routing : bool
        Write what t-route needs.
    mass_balance : bool
        Let `ngen` check that no water is lost.
    outputs : sequence of str
        Columns of the catchments' files (default: depth of runoff).
    model_params : mapping
        JSON file of attributes, states and multipliers for all catchments.
    save_every : float, optional
        Hours between saved states of all catchments.
    restart : bool
        Continue from the states saved for the start.
    ngiab : bool
        Whether `output` is a run folder of NextGen In A Box, whose hydrofabric is used as it is.
    """

    bundle: str
    output: Path
    hydrofabric: Path
    start: np.datetime64
    end: np.datetime64
    forcing: Path | None = None
    stored_forcing: bool = False
    pet: PetMethod | None = None
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    missing_attributes: MissingAttributes = "error"
    missing_forcing: MissingForcing = "error"
    day_start_hour: float = 0.0
    multi: bool = False
    routing: bool = True
    mass_balance: bool = True
    outputs: Sequence[str] = ()
    model_params: Mapping[str, Any] = field(default_factory=dict)
    save_every: float | None = None
    restart: bool = False
    ngiab: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, getattr(self, name).astype("datetime64[s]"))
        if not self.start < self.end:
            raise NextGenError(f"the run would end at {self.end}, before it starts at {self.start}")
